"""The stories: an opening that all share, and ten plots, in the notation of grammar.py.

What a plot draws early it tells again late: who holds what, what colour it had, where it lay, who helped, what was
promised.
"""

PIECES = {
    "story": """
<opening> [20% <treasure>

[<lost>|<fetched>]
|10% <traded>|10% <quarrel>|10% <afraid>|10% <promise>|10% <rescue>|10% <race>|10% <birthday>|10% <storm>]
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
    "traded": """
[On market day|In the village|In a [big|little|dusty] shop] {hero} saw {a colour:colour} {thing:thing} and wanted it
[very much|more than anything|with all {hero.his} heart]. But {hero.he} had no money, only {a other:colour}
{toy:thing}. "You can have the {thing} for a [basket|bag|bowl|box|bucket|plate] of {food:food}," said the
{seller:neighbour} <kindly>.

But {hero} had no {food}. {friend:child}, who lived [next door|across the street|down the road|round the corner|over
the shop|behind the well|by the gate|near the school], had [plenty|more than enough|too many]. "Will you give me some
{food} for my {other} {toy}?" asked {hero} <kindly>. "[Gladly|With pleasure|Of course|Why not]," said {friend}. "I
have always wanted to {toy.use}." So {hero} gave {friend.him} the {toy}, [took|carried|brought] the {food} to the
{seller} and [got|was given] the {colour} {thing}.

[Now|In the end|So at last] {friend} had the {toy}, the {seller} had the {food}, and {hero} had the {thing}. [All
three were [very |so |][happy|glad|proud|pleased]|Nobody had paid a penny|It was the best [trade|deal] in the world].
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
|40% At last {friend} <went> home with the {thing}, and {hero} was [sad|angry|lonely] [all night|all evening|for
hours]. "{A thing} is [nice|good|fine]," said {hero.his} {family} <kindly>, "but a friend is [nicer|better]." [The
next morning|The next day|Before dinner|When it was dark|After a while] {friend} [knocked at|ran to|stood at] {hero}'s
door with the {colour} {thing}. "I am sorry," {friend.he} said <kindly>. "You can have it." "I am sorry, too," said
{hero}.]

So the {thing} [lived|stayed] with {hero}
[in [summer and with {friend} in winter|winter and with {friend} in summer]
|when [it rained and with {friend} when the sun shone|the sun shone and with {friend} when it rained]
|on [Mondays and with {friend} on [Fridays|Sundays]|Fridays and with {friend} on [Mondays|Sundays]|Sundays and with
{friend} on [Mondays|Fridays]]], and {place.at} they [never quarrelled again|were never angry again|only laughed and
sang].
""",
    "afraid": """
{hero} was afraid of nothing but {fear:fear}. [Nobody knew it|{Hero.he} never spoke about it|Even the [baby|little
ones|birds] laughed about it].

<one day> {hero} and {friend:child} were playing [tag|ball|pirates|knights|school|circus|farmers|sailors|kings and
queens]. [Suddenly|After a while|All at once] {friend} was gone. "Help! [Help!|Come quickly!|Is anybody there?]"
[cried|called|shouted] a voice. It was {friend}, {fear.where}. {hero}'s [knees shook|heart beat fast|face went
white|mouth was dry|hands were cold]. "I am coming," {hero.he} said [bravely|quietly|softly|calmly|at last|in a low
voice]. {Hero.he} [took a deep breath|counted to [three|ten|twenty]|thought of {friend}|bit {hero.his} lip] and
{fear.act}. Then {hero.he} took {friend} by the [hand|arm], and [together|slowly|step by step|quietly] they made their
way back.

"You are afraid of {fear}, and still you came [for me|to help me|to save me]," said {friend} <kindly>. "[You are the
bravest {hero.kind} I know|That is what being brave means|I will never forget it]." The next [day|morning|evening]
{friend} gave {hero.him} {a colour:colour} {thing:thing} [as a present|to say thank you|for being so brave], and
{hero} was [no longer|hardly|never again] afraid of {fear}.
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
    "race": """
Every [spring|summer|autumn|winter] there was a race from the {start:place} to the {goal:place}, and this year the
prize was {a colour:colour} {thing:thing}. {hero} [dreamed of it every night|wanted to win it [very|so] much|had
waited for it all year].

On the [great|big] day {hero} stood beside {winner:child} and {other:child} {start.at}, and the {judge:neighbour}
[blew a horn|waved a hat|clapped|rang a bell]. [Half way|Near the {goal}|All at once|Suddenly] {other} fell over [a
root|a stone|a cat|a branch|a box|a stick] and hurt {other.his} [knee|foot|arm|hand|nose|chin]. {winner} ran on. But
{hero} [stopped|turned back]. "[Lean on me|Take my arm|Hold my hand]," {hero.he} said <kindly>, and
[slowly|bravely|together|side by side] {hero} and {other} walked to the {goal}.

So {winner} won the {colour} {thing}. But when {winner.he} saw {hero} and {other}, {winner.he} [became quiet|went
red|smiled|thought for a while]. "I was faster," said {winner} <kindly>, "but you were kinder. The {thing} is yours,
{hero}." "[Hurray|Well done]!" [called|cried|shouted] the {judge}. That [night|evening] {hero} put the {thing}
[on|beside|under] the [bed|table|chair|stairs].
""",
    "birthday": """
[Tomorrow|The next day|Soon] was the birthday of {hero.his} {family}. "I want to give {family.him} {a colour:colour}
{maker:maker.gift} with {other:colour} {pattern:pattern}," said {hero} to the {maker}. "[Let us|We will|You and I
will] make one [ourselves|together]," said the {maker} <kindly>. They worked [all day|until [dark|dinner|bedtime]|for
[hours|two hours|a long time]].

Then {hero} [carried|took|brought] the {maker.gift} home and hid it {hiding:hiding}. [Soon|Just then] {hero.his}
{family} [asked|called|shouted]: "Where [is my [hat|coat|scarf|book|bag|lamp]? Perhaps it is|are my
[glasses|slippers|keys|boots]? Perhaps they are] {hiding}." "No, not there!" cried {hero}. "Look in the
[kitchen|garden|hall|yard|barn|shed]."

In the morning {hero} [sang a song|picked some [roses|daisies|apples|cherries]|made [tea|breakfast|soup]|lit a candle]
and pulled the {colour} {maker.gift} out from {hiding}. "Did you make this?" asked {hero.his} {family}. "Yes," said
{hero}, "and the {maker} helped me." {Hero.his} {family} [kissed {hero.him}|danced with joy|hugged {hero.him}|cried
with joy]. "I have always wanted {other} {pattern}," {family.he} said <kindly>, and [in the afternoon|later|then] they
took some {food:food} to the {maker}.
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

At last the sun came out over the {place}, and {hero} and {friend} <went> back
to the house {home}. "Where have you been?" asked {hero.his} {family}. "In an old {shelter} with {a guest}," said
{hero}. "It was [fun|lovely|warm|cosy], and we ate all the {food}. We found no {find}, but we found a [good|new|dear]
friend."
""",
}
