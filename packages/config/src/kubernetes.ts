import { isIP } from 'node:net';

const isPort = (value: string): boolean => /^\d{1,5}$/.test(value);
const isUrl = (value: string): boolean => /^(?:tcp|udp|sctp):\/\/[^/]+:\d{1,5}$/.test(value);

const shapes: readonly (readonly [RegExp, (value: string) => boolean])[] = [
  [/_SERVICE_HOST$/, (value) => isIP(value) !== 0],
  [/_SERVICE_PORT(?:_[A-Z0-9_]+)?$/, isPort],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)$/, isUrl],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)_PROTO$/, (value) => ['tcp', 'udp', 'sctp'].includes(value)],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)_PORT$/, isPort],
  [/_PORT_\d+_(?:TCP|UDP|SCTP)_ADDR$/, (value) => isIP(value) !== 0],
  [/_PORT$/, isUrl],
];

/** Whether Kubernetes injected this variable for a Service whose name begins with `inmesh`: by name and value. */
export function isServiceVariable(name: string, value: string): boolean {
  return shapes.some(([form, isShape]) => form.test(name) && isShape(value));
}
