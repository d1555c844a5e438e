// How is a quantity written, and which plain number is it? The unit stands in the value (`500ms`,
// `256MiB`, `99.9%`, `200/s`); inside the program every quantity is a plain number of its base.
//
//   U1. A number without its unit is never guessed at: it is an error that names the candidates.
//   U2. `unitText` of a parsed value, parsed again, gives the same number.

/** `number` is for the second spelling of a key, such as `ratePerSecond`. */
export type Unit = 'duration' | 'size' | 'rate' | 'share' | 'percent' | 'cores' | 'fee' | 'number';

export type UnitAnswer =
  | { readonly kind: 'ok'; readonly value: number }
  | { readonly kind: 'bad'; readonly suggestion: string | undefined };

interface UnitWords {
  /** For people: `a duration such as …`. */
  readonly accepts: string;
  readonly examples: readonly string[];
  /** Factors to the base unit, smallest first. */
  readonly factors: Readonly<Record<string, number>>;
  /** May a bare number stand for the base unit? */
  readonly bare: boolean;
  /** What people write instead. */
  readonly slips: Readonly<Record<string, string>>;
}

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const UNITS: Readonly<Record<Unit, UnitWords>> = {
  duration: {
    accepts: 'a duration such as 500ms, 2s, 5m, 24h, 30d',
    examples: ['500ms', '10s', '15m'],
    factors: { ms: 1, s: 1_000, m: MINUTE, h: HOUR, d: DAY },
    bare: false,
    slips: {
      sec: 's',
      secs: 's',
      second: 's',
      seconds: 's',
      min: 'm',
      mins: 'm',
      minute: 'm',
      minutes: 'm',
      hr: 'h',
      hrs: 'h',
      hour: 'h',
      hours: 'h',
      day: 'd',
      days: 'd',
      msec: 'ms',
      millis: 'ms',
      milliseconds: 'ms',
      millisecond: 'ms',
    },
  },
  size: {
    accepts: 'a size such as 64KiB, 256MiB, 1GiB, or decimal 10KB, 10MB, 1GB',
    examples: ['64KiB', '256MiB', '1GiB'],
    factors: { B: 1, KB: 1e3, KiB: 1024, MB: 1e6, MiB: 1024 ** 2, GB: 1e9, GiB: 1024 ** 3 },
    bare: false,
    slips: {
      b: 'B',
      k: 'KiB',
      kb: 'KB',
      kib: 'KiB',
      ki: 'KiB',
      m: 'MiB',
      mb: 'MB',
      mib: 'MiB',
      mi: 'MiB',
      g: 'GiB',
      gb: 'GB',
      gib: 'GiB',
      gi: 'GiB',
      bytes: 'B',
      byte: 'B',
    },
  },
  rate: {
    accepts: 'a rate such as 200/s, 6000/m, 10000/h',
    examples: ['200/s', '6000/m'],
    factors: { '/h': 1 / 3600, '/m': 1 / 60, '/s': 1 },
    bare: false,
    slips: {
      rps: '/s',
      '/sec': '/s',
      '/second': '/s',
      persecond: '/s',
      ps: '/s',
      'r/s': '/s',
      'req/s': '/s',
      '/min': '/m',
      '/minute': '/m',
      rpm: '/m',
      '/hour': '/h',
    },
  },
  share: {
    accepts: 'a percentage such as 99.9%, or a share from 0 to 1',
    examples: ['99.9%', '20%'],
    factors: { '%': 0.01 },
    bare: true,
    slips: { percent: '%', pct: '%' },
  },
  percent: {
    accepts: 'a percentage such as 5%',
    examples: ['5%', '25%'],
    factors: { '%': 1 },
    bare: false,
    slips: { percent: '%', pct: '%' },
  },
  cores: {
    accepts: 'a number of processor cores such as 1 or 0.5',
    examples: ['0.5', '2'],
    factors: {},
    bare: true,
    slips: {},
  },
  fee: {
    accepts: 'a price of gas such as 100gwei or 0.05gwei',
    examples: ['100gwei', '0.05gwei'],
    factors: { gwei: 1 },
    bare: false,
    slips: {},
  },
  number: {
    accepts: 'a plain number such as 1 or 0.5',
    examples: ['0.5', '2'],
    factors: {},
    bare: true,
    slips: {},
  },
};

const WRITTEN = /^(\d{1,15}(?:\.\d{1,9})?|\.\d{1,9})\s*([a-z%/]{0,16})$/iu;

/** Reads what was written for a quantity; limits are the caller's affair. */
export function parseUnit(unit: Unit, written: string): UnitAnswer {
  const words = UNITS[unit];
  const match = WRITTEN.exec(written);
  const number = Number(match?.[1]);
  const suffix = match?.[2] ?? '';
  if (match === null) return { kind: 'bad', suggestion: compound(unit, written) };
  const glued = !/\s/u.test(written) && !written.startsWith('.');
  if (suffix === '') {
    if (words.bare && !glued) return { kind: 'bad', suggestion: String(number) };
    if (!words.bare) return { kind: 'bad', suggestion: bareGuess(unit, number) };
    if (unit === 'share' && number > 1) return { kind: 'bad', suggestion: `${number}%` };
    return { kind: 'ok', value: number };
  }
  const factor = words.factors[suffix];
  if (Object.hasOwn(words.factors, suffix) && factor !== undefined && glued) {
    return { kind: 'ok', value: exact(number, factor, unit) };
  }
  return { kind: 'bad', suggestion: slipGuess(unit, number, suffix) };
}

/** Multiplies without the dust of binary fractions: 99.9 % is 0.999. */
function exact(number: number, factor: number, unit: Unit): number {
  const value = number * factor;
  if (unit === 'size' || unit === 'duration') return Number(value.toFixed(6));
  return Number(value.toPrecision(12));
}

function bareGuess(unit: Unit, number: number): string | undefined {
  switch (unit) {
    case 'duration':
      return number >= 100 ? `${number}ms` : `${number}s`;
    case 'size':
      return number >= 4096 ? unitText('size', Math.round(number)) : `${number}MiB`;
    case 'rate':
      return `${number}/s`;
    case 'percent':
      return number < 1 ? `${Number((number * 100).toPrecision(6))}%` : `${number}%`;
    case 'fee':
      return `${number}gwei`;
    case 'share':
    case 'cores':
    case 'number':
      return undefined;
  }
}

/** Weeks and years are said in days: a year has 365 of them, or 366. */
const LONG: readonly (readonly [RegExp, number])[] = [
  [/^(?:w|wks?|weeks?)$/iu, 7],
  [/^(?:y|yrs?|years?|a)$/iu, 365],
];

function slipGuess(unit: Unit, number: number, suffix: string): string | undefined {
  if (unit === 'cores') return suffix === 'm' ? String(number / 1000) : undefined;
  const words = UNITS[unit];
  const days =
    unit === 'duration' ? LONG.find(([pattern]) => pattern.test(suffix))?.[1] : undefined;
  if (days !== undefined) return `${Number((number * days).toFixed(6))}d`;
  if (Object.hasOwn(words.factors, suffix)) return `${number}${suffix}`;
  const lower = suffix.toLowerCase();
  const meant = Object.hasOwn(words.slips, lower)
    ? words.slips[lower]
    : Object.keys(words.factors).find((known) => known.toLowerCase() === lower);
  return meant === undefined ? undefined : `${number}${meant}`;
}

/** `1h30m` is not accepted, but it is clear what it means. */
function compound(unit: Unit, written: string): string | undefined {
  if (unit !== 'duration') return undefined;
  const match = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$/u.exec(written);
  if (match === null || written === '') return undefined;
  const [, days = '0', hours = '0', minutes = '0', seconds = '0'] = match;
  return unitText(
    'duration',
    Number(days) * DAY + Number(hours) * HOUR + Number(minutes) * MINUTE + Number(seconds) * 1000,
  );
}

/** The shortest exact way to write a value of this unit. */
export function unitText(unit: Unit, value: number): string {
  if (unit === 'cores' || unit === 'number') return String(value);
  if (unit === 'share') return `${Number((value * 100).toPrecision(12))}%`;
  if (unit === 'percent') return `${value}%`;
  if (unit === 'fee') return `${value}gwei`;
  if (unit === 'rate') return rateText(value);
  const factors = Object.entries(UNITS[unit].factors).toReversed();
  // Binary sizes first: 1048576 is 1MiB, and never 1048.576KB.
  const binary = unit === 'size' ? factors.filter(([name]) => name.includes('i')) : [];
  for (const [name, factor] of [...binary, ...factors]) {
    if (value >= factor && Number.isInteger(value / factor)) return `${value / factor}${name}`;
  }
  return `${value}${unit === 'size' ? 'B' : 'ms'}`;
}

function rateText(value: number): string {
  for (const [name, times] of [
    ['/s', 1],
    ['/m', 60],
    ['/h', 3600],
  ] as const) {
    const number = Number((value * times).toPrecision(12));
    if (Number.isInteger(number)) return `${number}${name}`;
  }
  return `${Number(value.toPrecision(9))}/s`;
}

/** A pattern for the JSON Schema that accepts exactly what `parseUnit` accepts as text. */
export function unitPattern(unit: Unit): string {
  if (unit === 'cores' || unit === 'number') return String.raw`^(?:\d{1,15}(?:\.\d{1,9})?)$`;
  const suffixes = Object.keys(UNITS[unit].factors).join('|');
  const number = String.raw`\d{1,15}(?:\.\d{1,9})?`;
  if (unit === 'share') {
    return `^(?:${number}%|0{1,15}(?:\\.\\d{1,9})?|0{0,14}1(?:\\.0{1,9})?)$`;
  }
  return `^${number}(?:${suffixes})$`;
}
