import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blockProblems, sourceOf } from '../docs/blocks.mjs';
import { linkProblems } from '../docs/links.mjs';
import { readMarkdown, slugOf } from '../docs/markdown.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const fence = '```';
const policy = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: a }
spec: { action: ALLOW, rules: [{}] }
`;

describe('checks of the documentation', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'inmesh-docs-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const page = (name: string, text: string): string => {
    const file = join(dir, name);
    writeFileSync(file, text);
    return file;
  };
  const blocks = async (language: string, code: string, comment = ''): Promise<readonly string[]> =>
    (await blockProblems(
      [page('page.md', `${comment}\n${fence}${language}\n${code}${fence}\n`)],
      root,
    )) as readonly string[];

  it.each([
    ['ts', "import { createMesh } from 'inmesh';\nawait createMesh({ retries: 2 });\n"],
    ['sh', 'npm run demo\nINMESH_RETRIES=2 node app.js &\nnpx inmesh config show --json\n'],
    ['sh', 'for n in 1 2; do curl -s http://localhost/; done | grep "a b" # twice\n'],
    ['yaml', policy],
    ['yaml', 'a: 1\n'],
    ['json', '{ "a": 1 }\n'],
    ['text', 'anything\n'],
  ])('let good %s pass: %j', async (language, code) => {
    expect(await blocks(language, code)).toEqual([]);
  });

  it.each([
    [
      'ts',
      "import { createMesh } from 'inmesh';\nawait createMesh({ retry: 2 });\n",
      "'retry' does not exist",
    ],
    ['js', 'await mesh.close();\n', "Cannot find name 'mesh'"],
    ['sh', 'npm run demos\n', 'npm run demos'],
    ['sh', 'INMESH_RETRYS=2 node app.js\n', 'INMESH_RETRYS'],
    ['sh', 'export INMESH_RETRIES=many\n', 'INMESH_RETRIES'],
    ['sh', 'npx inmesh config shown\n', 'inmesh config shown'],
    ['sh', 'curl http://localhost/ && npx inmesh config show --yaml\n', '--yaml'],
    ['sh', 'node examples/none.js\n', 'examples/none.js'],
    ['sh', 'frobnicate\n', 'frobnicate'],
    ['sh', 'if true\n', 'syntax error'],
    ['yaml', policy.replace('rules', 'rule'), 'rule'],
    ['yaml', 'a: 1\na: 2\n', 'unique'],
    ['json', '{ a: 1 }\n', 'JSON'],
    ['rust', 'fn main() {}\n', 'rust'],
    ['', 'what is this\n', 'language'],
  ])('refuse bad %s: %j', async (language, code, reason) => {
    const problems = await blocks(language, code);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(reason);
  });

  it('name the line of what does not compile', async () => {
    const problems = await blocks(
      'ts',
      'const a = 1;\nconst b: string = a;\n',
      '<!-- given: declare const c: 1 -->',
    );
    expect(problems).toEqual([expect.stringContaining('page.md:4: ')]);
  });

  it('hold blocks to the file they come from', async () => {
    const marker = '<!-- code: examples/tutorial/before/stock.mjs -->';
    expect(
      await blocks('js', sourceOf('examples/tutorial/before/stock.mjs', root) as string, marker),
    ).toEqual([]);
    expect(await blocks('js', 'let a;\n', marker)).toEqual([expect.stringContaining('is not that of')]);
    expect(await blocks('js', 'let a;\n', '<!-- code: examples/none -->')).toEqual([
      expect.stringContaining('there is no examples/none'),
    ]);
  });

  it('follow links, to their headings', () => {
    mkdirSync(join(dir, 'folder'));
    const other = page('other.md', '# A `code` heading: two\n## A `code` heading: two\n');
    const links = (target: string): readonly string[] =>
      linkProblems([page('page.md', `# Here\n[x](${target})\n`), other], dir) as readonly string[];
    for (const good of [
      'other.md',
      'other.md#a-code-heading-two',
      'other.md#a-code-heading-two-1',
      '#here',
      'folder/',
    ])
      expect(links(good)).toEqual([]);
    for (const bad of ['none.md', 'other.md#none', '#there', 'folder', 'other.md/'])
      expect(links(bad), bad).toHaveLength(1);
  });

  it('see no headings and links inside of code', () => {
    const { anchors, links } = readMarkdown(`# Real\n${fence}sh\n# not one [x](y)\n${fence}\n`) as {
      readonly anchors: ReadonlySet<string>;
      readonly links: readonly unknown[];
    };
    expect([[...anchors], links]).toEqual([['real'], []]);
  });

  it.each([
    ['Who may read metrics', 'who-may-read-metrics'],
    ['src/traffic.ts', 'srctrafficts'],
    ['A – dash, a_b', 'a--dash-a_b'],
  ])('name the anchor of %j', (heading, slug) => {
    expect(slugOf(heading)).toBe(slug);
  });
});
