import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { isLenientParser, requireStrictParser } from '../src/strict-parser.js';

const flag = '--insecure-http-parser';

describe('strict parser', () => {
  it.each([
    [undefined, undefined, [], false],
    [true, undefined, [], true],
    [undefined, undefined, [flag], true],
    [undefined, undefined, ['--insecure_http_parser'], true],
    [undefined, `--enable-source-maps ${flag}`, [], true],
    [undefined, `"${flag}"`, [], true],
    [undefined, flag, ['--no-insecure-http-parser'], false],
    [undefined, '--no-insecure-http-parser', [flag], true],
    [false, flag, [flag], false],
  ] as const)(
    'option %s, NODE_OPTIONS %s, arguments %j: lenient %s',
    (option, nodeOptions, execArgv, expected) => {
      expect(isLenientParser({ option, nodeOptions, execArgv })).toBe(expected);
    },
  );

  it('refuses a server that was told to be lenient', () => {
    expect(() => requireStrictParser(createServer({ insecureHTTPParser: true }))).toThrow(
      expect.objectContaining({ code: 'INMESH_ERR_CONFIG_INVALID' }),
    );
    expect(() => requireStrictParser(createServer())).not.toThrow();
  });
});
