type Value = string | number | readonly string[] | undefined | null;

function push(raw: string[], name: string, value: Value): void {
  if (value === undefined || value === null) return;
  if (typeof value === 'object') for (const one of value) raw.push(name, String(one));
  else raw.push(name, String(value));
}

/** Every form in which undici takes request headers, as field lines. Makes a new array: layers may change it. */
export function toFieldLines(headers: unknown): string[] {
  const raw: string[] = [];
  if (headers === undefined || headers === null) return raw;
  if (Array.isArray(headers)) {
    if (Array.isArray(headers[0]))
      for (const [name, value] of headers as [string, Value][]) push(raw, name, value);
    else
      for (let i = 0; i + 1 < headers.length; i += 2) push(raw, String(headers[i]), headers[i + 1] as Value);
  } else if (typeof (headers as Iterable<unknown>)[Symbol.iterator] === 'function') {
    for (const [name, value] of headers as Iterable<[string, Value]>) push(raw, name, value);
  } else for (const [name, value] of Object.entries(headers)) push(raw, name, value as Value);
  return raw;
}
