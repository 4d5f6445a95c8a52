"""The stories: an opening that all share, and six plots, in the notation of notation.py.

A plot mentions late what it drew early: who holds what, what colour it had, where it lay, who helped, what was
promised.
"""

RULES = {
    "story": """
<opening> [34% <treasure>

[<lost>|<fetched>]
|17% <quarrel>|17% <promise>|16% <rescue>|16% <storm>]
""",
    # ------------------------------------------------------------ what the plots share
    "opening": """
[66% Once upon a time there [was|lived]|12% Long, long ago there lived|12% There once was|10% Far away there lived]
[a brave|a kind|a clever|a shy|a cheerful|a curious|a quiet|a gentle|a lively|an honest|a merry|a careful|a dreamy
|a polite|a strong|a funny] [little |young |]{hero:child.kind} [named|called] {hero}.
[60% {Hero.he} lived with {hero.his} {family:family} in <a house>
|20% {Hero.he} and {hero.his} {family:family} lived in <a house>
|20% In <a house> {hero.he} lived with {hero.his} {family:family}].
""",
    "a house": """
a [small|tiny|white|wooden|cosy|narrow|crooked|warm|tall|round|stone|pretty] [house|cottage] {home:home}
""",
    "one day": """
One [sunny|warm|bright|quiet|lovely|fresh|golden|mild|clear|fine|calm|pleasant] [morning|day|Monday|Friday|Sunday|day
in [spring|summer|autumn]]
""",
    "treasure": """
{Hero.he} had {a colour:colour} {thing:thing}[
|, and {hero.he} loved to {thing.use} [every day|every morning|every evening|all day long|after school|before
breakfast|on Sundays]
|. [Nothing in the world|No other toy] was so dear to {hero.him}
|, a present from [a sailor|a king|a queen|a pirate|a wizard|a friend|the miller|the teacher|the baker|the farmer]
].
""",
    "sad": """
[{hero} [sat down and cried|cried and cried|hung {hero.his} head|did not know what to do]
|A [big|small|hot] tear ran down {hero.his} [nose|cheek|chin]
|Poor {hero} was [very|so] [sad|unhappy]
].
""",
    "went": """
[went|walked|ran|hurried|skipped|marched|raced|wandered]
""",
    "an old": """
[a small|an old|a friendly|a wise|a sleepy|a fat|a brown|a clever|a lonely|a shaggy|a young|a polite]
""",
    "kindly": """
[kindly|softly|quietly|gently|warmly|calmly|politely|with a smile|with a nod|in a low voice]
""",
    "from then on": """
[From that day on|Ever after|After that|Since that day]
""",
    # ------------------------------------------------------------ the plots
    "lost": """
<one day> {hero} took it to the {place:place} and [played there until [noon|dark|dinner]|fell asleep in the
[sun|shade|grass]]. [Back home|On the way back|At bedtime] the {thing} was gone. <sad> Then {hero.he} <went> back to
look for it, and [at the corner|by the gate|on the road|behind the house] {hero.he} met <an old> {helper:animal}. "I
have lost my {colour} {thing} {place.at}," said {hero}. "Let us look there [together|again]," said the {helper}
<kindly>.

[They looked {first of place.spots}, but found only [leaves|stones|ants|worms|mud|sticks|bones|moss]. |]They looked
{spot of place.spots}, and there lay the {colour} {thing}! {hero} [hugged|kissed|thanked] the {helper} and gave it
some {food:food}. <from then on> {hero} never [lost|forgot] the {thing} again, and every [Monday|Friday|summer|week]
{hero.he} [visited|played with|danced with|sang with] the {helper} {place.at}.
""",
    "fetched": """
<one day> {hero} was playing [beside a deep {trap:water} <it slipped> {helper:swimmer}
|near a dark {trap:hole} <it slipped> {helper:digger}
|on top of a high {trap:edge} <it slipped> {helper:flyer}]. "What will you give me if I bring it back?" "I will
{reward:reward.will} you {reward}," said {hero} <kindly>. The {helper} {helper.came} down [at once|without a
sound|without a word|without fear|with a smile] and came back with the {colour} {thing}.

Of course {hero} did not forget {hero.his} promise. [The [very |]next [day|morning|evening]
|That [same |][day|evening|night]|A little later|In the afternoon] {hero.he} {reward.did} the {helper} {reward}.
"[Nobody|No child|No friend] ever {reward.did} me {reward} before," said the {helper} <kindly>. <from then on> they met
near the {trap} every [Monday|Friday|Sunday|day|evening|morning].
""",
    "it slipped": """
when the {thing} slipped out of {hero.his} hands and fell [down, down, down|far down|deeper and deeper]. <sad> "Do not
cry," said a [soft|deep|tiny|friendly|funny|strange] voice. It was <an old>
""",
    "quarrel": """
<one day> {hero} and {hero.his} friend {friend:child} found {a colour:colour} {thing:thing} {place:place.at}. It lay
{spot of place.spots}. "I saw it first," said {hero}. "No, it is mine," said {friend}. They [pulled|pushed|tugged] and
[shouted|screamed|cried], and [neither|nobody] [would let go|gave in].

[60% At last {hero} <went> home with the {thing}. {Hero.he} tried to {thing.use}, but it was no fun [alone|without
{friend}]. "{A thing} is [nice|good|fine]," said {hero.his} {family} <kindly>, "but a friend is [nicer|better]." [The
next morning|The next day|Before dinner|When it was dark|After a while] {hero} [knocked at|ran to|stood at] {friend}'s
door with the {colour} {thing}. "I am sorry," {hero.he} said <kindly>. "You can have it." "I am sorry, too," said
{friend}.
|40% At last it was {friend} who <went> home with the {thing}, and {hero} was [sad|angry|lonely] [all night|all
evening|for hours]. "{A thing} is [nice|good|fine]," said {hero.his} {family} <kindly>, "but a friend is
[nicer|better]." [The next morning|The next day|Before dinner|When it was dark|After a while] {friend} [knocked at|ran
to|stood at] {hero}'s door with the {colour} {thing}. "I am sorry," {friend.he} said <kindly>. "You can have it." "I am
sorry, too," said {hero}.]

So the {thing} [lived|stayed] with {hero}
[in [summer and with {friend} in winter|winter and with {friend} in summer]
|when [it rained and with {friend} when the sun shone|the sun shone and with {friend} when it rained]
|on [Mondays and with {friend} on [Fridays|Sundays]|Fridays and with {friend} on [Mondays|Sundays]|Sundays and with
{friend} on [Mondays|Fridays]]], and {place.at} they [never quarrelled again|were never angry again|only laughed and
sang].
""",
    "promise": """
<one day> {hero.his} {family} had to go to [town|the mill|a wedding|the fair|the bank|the shops]. "Will you
{task:task} [before I come back|while I am away|for me|today]?" {family.he} asked. "I promise," said {hero} <kindly>.

[Soon|Just then|A little later] {friend:child} [knocked at the window|came to the door|looked over the fence|sang in
the street]. "Come with me to the {place:place}," said {friend}. "We can {game of place.games}." "But first I must
{task}," {hero.he} said. [60% "I will help you," said {friend} <kindly>. So {hero} and {friend} <went> off to {task}
[together|side by side], and it was [quickly|soon] done. <played> said {hero}, "and {friend} helped me."
|40% {friend} [laughed|shook {friend.his} head|made a face] and went alone. It took {hero} [an hour|two hours|a long
time] to {task}. Then {hero.he} <went> after {friend}. <played> said {hero}, "all by myself."] {Hero.his} {family} was
[happy|proud|pleased|glad] and gave {hero.him} a [plate|bowl|bag|basket|box|bucket] of {food:food}.
""",
    "played": """
There was [still time|time enough] to {game} until [dinner|it rained|the bells rang|they were
[tired|hungry|cold|wet]].

In the evening {hero.his} {family} came home with {a colour:colour} [hat|coat|scarf|bag|box|basket]. "Did you {task}?"
{family.he} asked. "[Yes|Of course|I did],"
""",
    "rescue": """
<one day> {hero} was [walking|sitting|singing|dreaming|dancing|resting|reading]
{place:place.at} when {hero.he} heard [a small cry|a sad little voice|somebody crying]. It was {a baby:baby} with {a
colour:colour} bow round its neck, stuck {stuck:stuck}. {hero} [pulled and pulled|pushed and pushed|tried and tried],
but it did not help.

{Hero.he} [ran|hurried|raced|rushed] to the {helper:neighbour}. "Please come to the {place},"
{hero.he} [cried|called|shouted]. "{A baby} is stuck {stuck}!" The {helper} [put on {helper.his} [hat|coat|boots]|left
{helper.his} [dinner|breakfast]|stood up], took [a rope|a ladder|a lamp|a stick|a saw|an axe] and came. [One, two,
three|Slowly, slowly|Up, up], and the {baby} was free! It [licked|kissed] {hero} on the [nose|hand|cheek|chin|ear].

Its mother, the {baby.mother}, saw the {colour} bow from far away and came running. "Thank you," she said <kindly> to
{hero} and the {helper}, and gave them some {food:food}. <from then on> the {baby} came [running|jumping|dancing] as
soon as {hero} was {place.at}.
""",
    "storm": """
<one day> {hero} and {friend:child} were looking for {find:find} {place:place.at}. [Suddenly|All at once] the [sky
[became|went] [black|dark|grey]|sun was gone], and [rain|hail] [poured|fell] down. "[We will never get home,|I am
[so|very] [cold|wet|tired],|What shall we do?]" [cried|said|sobbed] {friend}. "Look, an old {shelter:shelter}," said
{hero}.

In the {shelter} sat <an old> {guest:animal}. "[Come in|Sit down|Come here|Stay with me]," said the {guest} <kindly>.
{friend} was afraid of the [thunder|lightning], so {hero} [told {friend.him} a story about [a king|a queen|a pirate|a
wizard|a ghost|a bear|a wolf|the sea]|held {friend.his} hand|sang [a song|softly]]. Then all three shared the
{food:food} that {hero} had in {hero.his} [pocket|bag|basket|hat].

At last the sun came out over the {place}, and {hero} and {friend} <went> back to the house {home}. "Where have you
been?" asked {hero.his} {family}. "In an old {shelter} with {a guest}," said {hero}. "It was [fun|lovely|warm|cosy], and
we shared all that we had. We lost our way, but we found a [good|new|dear] friend."
""",
}
