// Values for the payloads of packets, as JSON text: plain ones mostly, odd ones now and then.

const WORDS = ['a', 'hello', '', 'ä', '👩‍🚀', '\u2028', 'length', 'constructor', '__proto__', 'num', '_placeholder', '-', '/', ','];
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const NUMBERS = [
  '0', '1', '-1', '42', '1.5', '-0', '0.0', '1e3', '1E+3', '1e-7', '1e400', '9007199254740993', '18446744073709551616',
  '123456789012345678901234567890', '0.1', '-2.5e-10',
];
const ODD_STRINGS = [
  '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u0061\\/\\b\\f\\n\\r\\t"', '"\\"\\\\"', '"[{"', '"\\\\"', '"\u007f"',
  '"\ufeff"',
];
/** Most of it is no JSON; some is, in odd places. */
const ODD = [
  '01', '+1', '.5', '1.', 'NaN', 'Infinity', 'undefined', "'a'", '"\n"', '"\\x41"', '"\\u12"', '[1,]', '[,1]', '{"a"}', '{a:1}', '{"a":1,}',
  '{"a":1,"a":2}', 'nul', 'TRUE', '//x', '', '[', ']', '{', '}', '"', '\u00a01', '\ufeff1', '-', '1e', '{"__proto__":{"a":1}}',
];

export function jsonString(random) {
  if (random.once(12)) return random.pick(ODD_STRINGS);
  if (random.once(200)) return JSON.stringify('x'.repeat(random.pick([32, 127, 128, 129, 1_000])));
  return JSON.stringify(random.times(2, () => random.pick(WORDS)).join(''));
}

/** JSON text of one value; `binaries` is a list of texts that must be put somewhere. */
export function jsonValue(random, binaries = [], depth = 0) {
  if (binaries.length > 0 && random.once(2)) return binaries.pop();
  const space = random.once(30) ? random.pick([' ', '\n', '\t', '\r ']) : '';
  const kind = depth > 4 ? random.below(5) : random.below(9);
  if (kind < 2) return space + jsonString(random);
  if (kind < 4) return random.pick(NUMBERS) + space;
  if (kind < 5) return random.once(60) ? random.pick(ODD) : random.pick(['true', 'false', 'null']);
  const values = random.times(4, () => jsonValue(random, binaries, depth + 1));
  if (kind < 7) return `[${space}${values.join(`,${space}`)}]`;
  return `{${values.map((value) => `${jsonString(random)}${space}:${value}`).join(`,${space}`)}${space}}`;
}

/** As many levels of arrays and objects, one in the other. */
export function nested(random, levels) {
  let text = '1';
  for (let i = 0; i < levels; i++) text = random.once(2) ? `[${text}]` : `{"a":${text}}`;
  return text;
}

/** The first element of an event's payload, as JSON text. */
export function eventName(random) {
  switch (random.below(24)) {
    case 0:
      return JSON.stringify(random.pick(RESERVED));
    case 1:
      return random.pick(NUMBERS);
    case 2:
      return random.pick(ODD_STRINGS);
    case 3:
      return random.pick(['null', 'true', '{}', '[]', '["a"]', '{"toString":"a"}']);
    case 4:
      return JSON.stringify(random.pick(['é', 'x']).repeat(random.pick([63, 64, 65, 127, 128, 129])));
    default:
      return jsonString(random);
  }
}

const EDITS = [...'0123456789[]{},:"-/\\ _?.+e\n\u0000\u001e\ufeffé😀b', '1-', '"a"', '/a,', '{"_placeholder":true,"num":0}', '[["'];

/** The text with a few things taken out, put in or exchanged. */
export function mutated(random, text) {
  let result = text;
  for (let edits = 1 + random.below(3); edits > 0; edits--) {
    // Near the beginning more often: that is where the header is.
    const at = random.once(2) ? random.below(Math.min(8, result.length) + 1) : random.below(result.length + 1);
    const length = random.below(3);
    const put = random.once(3) ? '' : random.pick(EDITS);
    if (random.once(12)) result = result.slice(0, at);
    else if (random.once(20)) result = result.slice(0, at) + result.slice(at, at + 6) + result.slice(at);
    else result = result.slice(0, at) + put + result.slice(at + length);
  }
  // Half a surrogate pair cannot be sent.
  return result.toWellFormed();
}
