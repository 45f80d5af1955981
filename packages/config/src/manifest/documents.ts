import { LineCounter, parseAllDocuments } from 'yaml';
import type { Report } from './diagnostic.js';
import { type Locate, locateIn } from './locate.js';

/** One document of a file, as it was written. */
export interface RawDocument {
  /** What it says. */
  readonly json: unknown;
  /** Finds places in it. */
  readonly locate: Locate;
}

/** Aliases that one document may resolve; more are a bomb. */
const maxAliasCount = 50;

/** Reads a YAML or JSON text of documents; those that cannot be read are reported and left out, empty ones too. */
export function parseDocuments(text: string, file: string, report: Report): readonly RawDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    uniqueKeys: true,
    version: '1.2',
    strict: true,
    // It would print its warnings; what is wrong is reported below.
    logLevel: 'error',
  });
  const found: RawDocument[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    for (const fault of [...document.errors, ...document.warnings]) {
      const { line, col } = lines.linePos(fault.pos[0]);
      report({
        code: 'INMESH_ERR_CONFIG_INVALID',
        origin: { source: file, line, column: col },
        message: fault.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? fault.code,
      });
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const locate = locateIn(document, lines, file);
    try {
      found.push({ json: document.toJS({ maxAliasCount }), locate });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      report({ code: 'INMESH_ERR_CONFIG_INVALID', origin: locate([]), message });
    }
  }
  return found;
}
