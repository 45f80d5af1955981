import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { assertStrictHttpParser, hasNodeFlag } from '../src/index.js';

describe('hasNodeFlag', () => {
  it.each([
    [[], undefined, false],
    [['--tls-keylog=/tmp/k'], undefined, true],
    [['--tls-keylog', '/tmp/k'], undefined, true],
    [['--tls_keylog=/tmp/k'], undefined, true],
    [[], '--max-old-space-size=64 --tls-keylog=/tmp/k', true],
    [[], '"--tls-keylog=/tmp/a b"', true],
    [['--tls-keylogger'], '--no-tls-keylog', false],
    [['--no-tls-keylog'], '--tls-keylog=/tmp/k', false],
    [['--tls-keylog=/tmp/k'], '--no-tls-keylog', true],
    [['--title=--tls-keylog'], undefined, false],
  ] as const)('finds in %j and NODE_OPTIONS %j: %j', (execArgv, options, found) =>
    expect(hasNodeFlag('--tls-keylog', execArgv, { NODE_OPTIONS: options })).toBe(found),
  );
});

describe('assertStrictHttpParser', () => {
  const refusal = expect.objectContaining({ code: 'INMESH_ERR_CONFIG_INVALID' });
  const flag = ['--insecure-http-parser'];

  it('takes a server as Node makes it, and one that is strict in spite of the flag', () => {
    expect(() => assertStrictHttpParser(createServer(), [], {})).not.toThrow();
    expect(() => assertStrictHttpParser(createServer({ insecureHTTPParser: false }), flag, {})).not.toThrow();
  });

  it('refuses a lenient server, and any server where the flag makes it so', () => {
    expect(() => assertStrictHttpParser(createServer({ insecureHTTPParser: true }), [], {})).toThrow(refusal);
    expect(() => assertStrictHttpParser(createServer(), flag, {})).toThrow(refusal);
    expect(() =>
      assertStrictHttpParser(createServer(), [], { NODE_OPTIONS: '--insecure-http-parser' }),
    ).toThrow(refusal);
  });
});
