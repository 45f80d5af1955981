// How VitePress shows the documentation. The sidebar is the index, docs/README.md.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { slugOf } from './markdown.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The index: `- **Title**: [page](path) · [page](path)`. */
function sections() {
  const index = readFileSync(`${root}docs/README.md`, 'utf8');
  return index
    .split(/^- /m)
    .slice(1)
    .map((item) => ({
      text: /^\*\*(.*?)\*\*/.exec(item)[1],
      items: [...item.matchAll(/\[([^\]]+)\]\(([^)]+\.md)\)/g)].map(([, text, path]) => ({
        text: `${text[0].toUpperCase()}${text.slice(1)}`,
        link: `/${path}`,
      })),
    }));
}

const packages = readdirSync(`${root}packages`)
  .map((name) => JSON.parse(readFileSync(`${root}packages/${name}/package.json`, 'utf8')))
  .filter((manifest) => !manifest.private)
  .map(({ name }) => ({ text: name, link: `/reference/api/${name}/` }));

/** Read by VitePress. */
export const siteConfig = {
  title: 'Inmesh',
  description: 'A service mesh inside the Node process',
  cacheDir: `${root}.site/cache`,
  // `<NAME>` in our pages is text, never HTML.
  markdown: { html: false, anchor: { slugify: slugOf } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: [
      ...sections(),
      { text: 'API', collapsed: true, items: packages },
      {
        text: 'Examples',
        collapsed: true,
        items: readdirSync(`${root}examples`).map((name) => ({ text: name, link: `/examples/${name}` })),
      },
    ],
  },
};
