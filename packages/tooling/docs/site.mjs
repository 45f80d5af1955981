// Builds the site of the documentation into `.site/dist`: the pages of `docs`, the API that TypeDoc wrote into
// `docs/reference/api`, and a page for each example. A link that leads nowhere, also within a page, a page that the index
// does not name and a file that would be loaded from another host fail the build.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vitepress';
import { slugOf } from './markdown.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const docs = join(root, 'docs');
const source = join(root, '.site', 'src');
const target = join(root, '.site', 'dist');
const examples = readdirSync(join(root, 'examples'));

function filesBelow(dir, skipped = []) {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter(
      (file) =>
        !relative(dir, file)
          .split('/')
          .some((part) => skipped.includes(part)),
    )
    .toSorted();
}

/** TypeDoc makes copies of the pages that a README of a package links to. The site has the pages themselves. */
const copies = join(docs, 'reference', 'api', '_media');

function originalOf(copy) {
  const found = filesBelow(docs, ['api']).filter((file) => basename(file) === basename(copy));
  if (found.length !== 1) throw new Error(`${relative(root, copy)} is a copy of ${found.length} pages`);
  return `/${relative(docs, found[0])}`;
}

/** Where a link of `file` leads on the site. */
function siteLink(file, link) {
  if (/^(?:[a-z]+:|#|\/)/.test(link)) return link;
  const [path, anchor] = link.split('#');
  const goal = resolve(dirname(file), path);
  const suffix = anchor === undefined ? '' : `#${anchor}`;
  if (dirname(goal) === copies) return `${originalOf(goal)}${suffix}`;
  if (goal.startsWith(`${docs}/`)) return `${path.replace(/README\.md$/, 'index.md')}${suffix}`;
  const [folder, name, ...rest] = relative(root, goal).split('/');
  if (folder === 'examples' && examples.includes(name))
    return `/examples/${name}.md${rest.length === 0 ? '' : `#${slugOf(rest.join('/'))}`}`;
  throw new Error(`${relative(root, file)}: ${link} is not on the site`);
}

function copyPage(file) {
  const page = join(source, relative(docs, file).replace(/README\.md$/, 'index.md'));
  mkdirSync(dirname(page), { recursive: true });
  if (extname(file) !== '.md') {
    cpSync(file, page);
    return;
  }
  // Comments are for the checks; the site shows HTML as text.
  const text = readFileSync(file, 'utf8').replaceAll(/^ *<!-- .* -->\n/gm, '');
  writeFileSync(
    page,
    text.replaceAll(/\]\(([^)\s]+)\)/g, (_all, link) => `](${siteLink(file, link)})`),
  );
}

const languages = {
  '.ts': 'ts',
  '.mjs': 'js',
  '.json': 'json',
  '.yaml': 'yaml',
  '.py': 'python',
  '.proto': 'proto',
};

function writeExample(name) {
  const dir = join(root, 'examples', name);
  const shown = filesBelow(dir, ['node_modules', 'dist', '.turbo', '.state', 'tsconfig.json', 'turbo.json'])
    .filter((file) => extname(file) in languages)
    .map((file) => {
      const language = languages[extname(file)];
      return `## ${relative(dir, file)}\n\n\`\`\`\`${language}\n${readFileSync(file, 'utf8')}\`\`\`\`\n`;
    });
  mkdirSync(join(source, 'examples'), { recursive: true });
  writeFileSync(join(source, 'examples', `${name}.md`), `# Example: ${name}\n\n${shown.join('\n')}`);
}

/** Pages that a reader cannot find from the index. */
function unlisted() {
  const index = readFileSync(join(docs, 'README.md'), 'utf8');
  return filesBelow(docs, ['api'])
    .filter((file) => extname(file) === '.md' && basename(file) !== 'README.md')
    .map((file) => relative(docs, file))
    .filter((path) => !index.includes(`](${path})`));
}

/** What a page would load from another host. */
function foreignLoads() {
  const load =
    /<(?:script|img|iframe|link(?=[^>]*rel="(?:stylesheet|preload|modulepreload|icon|preconnect)"))[^>]*(?:src|href)="(?:https?:)?\/\/[^"]*"|@import|url\(["']?(?:https?:)?\/\//g;
  return filesBelow(target)
    .filter((file) => ['.html', '.css'].includes(extname(file)))
    .flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(load)].map(([found]) => `${relative(target, file)}: ${found}`),
    );
}

/** Links to headings that no page has; VitePress looks at pages only. */
function lostAnchors() {
  const pages = new Map(
    filesBelow(target)
      .filter((file) => extname(file) === '.html')
      .map((file) => [file, readFileSync(file, 'utf8')]),
  );
  return [...pages].flatMap(([file, html]) =>
    [...html.matchAll(/<a [^>]*href="([^":]*)#([^"]+)"/g)]
      .filter(([, path, anchor]) => {
        const goal =
          path === '' ? file : path.startsWith('/') ? join(target, path) : resolve(dirname(file), path);
        const page = pages.get(goal.endsWith('/') ? `${goal}index.html` : goal);
        return !page?.includes(`id="${decodeURIComponent(anchor)}"`);
      })
      .map(([, path, anchor]) => `${relative(target, file)}: ${path}#${anchor}`),
  );
}

if (!existsSync(join(docs, 'reference', 'api', 'README.md'))) throw new Error('run `npm run docs:api` first');
const lost = unlisted();
if (lost.length > 0) throw new Error(`docs/README.md does not name ${lost.join(', ')}`);
rmSync(join(root, '.site'), { recursive: true, force: true });
for (const file of filesBelow(docs, ['_media'])) copyPage(file);
for (const name of examples) writeExample(name);
mkdirSync(join(source, '.vitepress'));
writeFileSync(
  join(source, '.vitepress', 'config.mjs'),
  `export { siteConfig as default } from ${JSON.stringify(fileURLToPath(new URL('site-config.mjs', import.meta.url)))};\n`,
);
await build(source, { outDir: target });
const foreign = foreignLoads();
if (foreign.length > 0) throw new Error(`the site would load from other hosts:\n${foreign.join('\n')}`);
const anchors = lostAnchors();
if (anchors.length > 0) throw new Error(`there are no such headings:\n${anchors.join('\n')}`);
process.stdout.write(`the site is in ${relative(root, target)}\n`);
