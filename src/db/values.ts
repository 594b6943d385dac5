import type postgres from 'postgres';

/** One value of a statement. Objects go to json columns; arrays are text, number or time arrays. */
export type Param = string | number | bigint | boolean | Date | null | readonly (string | number | bigint | Date)[] | object;

/** How values travel. Whole numbers come back as numbers and never silently lose a digit; days stay text. */
export const TYPES = {
  whole: { to: 20, from: [20], serialize: String, parse: safeInteger },
  day: { to: 1082, from: [1082], serialize: String, parse: (text: string) => text },
  texts: { to: 1009, from: [1009, 1015, 2951], serialize: arrayLiteral, parse: arrayOf },
  wholes: {
    to: 1016,
    from: [1016, 1007],
    serialize: arrayLiteral,
    parse: (text: string) => arrayOf(text).map((one) => safeInteger(one ?? '')),
  },
  times: { to: 1185, from: [1185], serialize: arrayLiteral, parse: arrayOf },
};

/** The driver guesses types from values (an array of Dates becomes one Date): here only Postgres decides. */
export function parameter(value: Param): postgres.ParameterOrJSON<never> {
  if (value === null || typeof value === 'boolean') return value as boolean | null;
  if (Array.isArray(value)) return (value as readonly (string | number | bigint | Date)[]).map(plain);
  if (typeof value === 'object' && !(value instanceof Date)) return value as postgres.JSONValue;
  return plain(value as string | number | bigint | Date);
}

const plain = (value: string | number | bigint | Date): string => {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`not a number for the database: ${value}`);
  return value instanceof Date ? value.toISOString() : String(value);
};

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is beyond the whole numbers this program keeps exactly`);
  return value;
}

function arrayLiteral(values: unknown): string {
  if (!Array.isArray(values)) return String(values);
  return `{${values.map((one) => (one === null ? 'NULL' : `"${String(one).replace(/["\\]/g, '\\$&')}"`)).join(',')}}`;
}

/** A one-dimensional array as Postgres prints it: `{a,"b, c",NULL}`. */
function arrayOf(text: string): (string | null)[] {
  const found: (string | null)[] = [];
  for (const match of text.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"|([^,]+)/gs)) {
    if (match[1] !== undefined) found.push(match[1].replace(/\\(.)/gs, '$1'));
    else found.push(match[2] === 'NULL' ? null : (match[2] ?? ''));
  }
  return found;
}
