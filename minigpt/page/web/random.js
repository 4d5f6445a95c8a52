// NumPy's random numbers, so that a seed draws the same token here and in model.generate(..., seed=seed).
//
// numpy.random.default_rng(seed): SeedSequence mixes the seed into 128 + 128 bits, and PCG64 (O'Neill 2014, the variant
// XSL RR 128/64) steps on from there. The numbers have more bits than JavaScript's, hence BigInt.

const BITS_32 = 0xffffffffn, BITS_64 = (1n << 64n) - 1n, BITS_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** The first n numbers, from 0 to 1, of numpy.random.default_rng(entropy); entropy is a list of integers, at least 0. */
export function uniforms(entropy, n) {
  const [a, b, c, d] = seedWords(entropy);
  const increment = ((((c << 64n) | d) << 1n) | 1n) & BITS_128;
  const step = (state) => (state * MULTIPLIER + increment) & BITS_128;
  let state = step((step(0n) + ((a << 64n) | b)) & BITS_128);
  return Array.from({ length: n }, () => {
    state = step(state);
    const folded = (state >> 64n) ^ (state & BITS_64);
    const turn = state >> 122n;
    const bits = ((folded >> turn) | (folded << (64n - turn))) & BITS_64;
    return Number(bits >> 11n) / 2 ** 53;
  });
}

/** SeedSequence(entropy).generate_state(4, uint64): four numbers of 64 bits. */
function seedWords(entropy) {
  const words = entropy.flatMap(wordsOf);
  const hash = hasher(0x43b0d7e5n, 0x931e8875n);
  const pool = [0, 1, 2, 3].map((i) => hash(words[i] ?? 0n));
  const mix = (x, y) => fold((0xca01f9ddn * x - 0x4973f715n * y) & BITS_32);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  }
  for (const word of words.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word));

  const spread = hasher(0x8b51f9ddn, 0x58f38dedn);
  const halves = Array.from({ length: 8 }, (_, i) => spread(pool[i % 4]));
  return [0, 2, 4, 6].map((i) => halves[i] | (halves[i + 1] << 32n));
}

/** An integer as words of 32 bits, the lowest first. */
function wordsOf(value) {
  const words = [];
  for (let rest = BigInt(value); rest > 0n; rest >>= 32n) words.push(rest & BITS_32);
  return words.length ? words : [0n];
}

/** A hash function whose constant changes with every call. */
function hasher(constant, multiplier) {
  return (value) => {
    value ^= constant;
    constant = (constant * multiplier) & BITS_32;
    return fold((value * constant) & BITS_32);
  };
}

function fold(value) {
  return value ^ (value >> 16n);
}
