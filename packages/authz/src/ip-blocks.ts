import { isIP } from 'node:net';

/** An address as 32-bit words: one for IPv4, four for IPv6. */
export type Address = readonly number[];

function parseV4(text: string): Address {
  let word = 0;
  for (const part of text.split('.')) word = ((word << 8) | Number(part)) >>> 0;
  return [word];
}

function parseV6(text: string): Address {
  const dotted =
    text.lastIndexOf('.') === -1
      ? text
      : text.replace(/[^:]+$/, (v4) => {
          const [word = 0] = parseV4(v4);
          return `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
        });
  const [left = '', right] = dotted.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => '0'), ...tail];
  const at = (i: number): number => Number.parseInt(groups[i] ?? '0', 16);
  return [0, 2, 4, 6].map((i) => ((at(i) << 16) | at(i + 1)) >>> 0);
}

/** Reads an address without zone; `undefined` if it is none. Stricter than most: no octal, no short forms. */
export function parseAddress(text: string): Address | undefined {
  const kind = isIP(text);
  if (kind === 0 || text.includes('%')) return undefined;
  if (kind === 4) return parseV4(text);
  const words = parseV6(text);
  // An IPv4-mapped address is the IPv4 address: a dual-stack socket shows the one, policies name the other.
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff ? [words[3] ?? 0] : words;
}

interface Block {
  readonly words: readonly number[];
  readonly masks: readonly number[];
}

/** Reads an address or a CIDR; `undefined` if it is none. */
function parseBlock(text: string): Block | undefined {
  const slash = text.indexOf('/');
  const base = slash === -1 ? text : text.slice(0, slash);
  const kind = isIP(base);
  if (kind === 0 || base.includes('%')) return undefined;
  const bits = kind === 4 ? 32 : 128;
  const suffix = slash === -1 ? String(bits) : text.slice(slash + 1);
  if (!/^(?:0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > bits) return undefined;
  const words = kind === 4 ? parseV4(base) : parseV6(base);
  let left = Number(suffix);
  let usable = words;
  // ::ffff:a.b.c.d/n names IPv4 addresses.
  if (words.length === 4 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff && left >= 96) {
    usable = [words[3] ?? 0];
    left -= 96;
  }
  const masks = usable.map(() => {
    const ones = Math.min(32, Math.max(0, left));
    left -= 32;
    return ones === 0 ? 0 : (0xffff_ffff << (32 - ones)) >>> 0;
  });
  return { words: usable.map((word, i) => (word & (masks[i] ?? 0)) >>> 0), masks };
}

/** Whether `text` is an address or a CIDR. */
export function isBlock(text: string): boolean {
  return parseBlock(text) !== undefined;
}

/** Compiles addresses and CIDRs of which one must hold the address. */
export function matchBlocks(texts: readonly string[]): (address: Address) => boolean {
  const blocks = texts.map(parseBlock).filter((block) => block !== undefined);
  return (address) => {
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks[i];
      if (block?.words.length !== address.length) continue;
      let isInside = true;
      for (let w = 0; w < address.length; w++) {
        if (((address[w] ?? 0) & (block.masks[w] ?? 0)) >>> 0 !== block.words[w]) isInside = false;
      }
      if (isInside) return true;
    }
    return false;
  };
}
