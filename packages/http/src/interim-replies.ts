/** Where the status stands in `HTTP/1.1 100`, and where it ends. */
const statusAt = 9;
const statusEnd = 12;
const prefix = Buffer.from('HTTP/1.');
const space = 0x20;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const digitOne = 0x31;
const endOfHead = Buffer.from('\r\n\r\n');
/** What is held of a head at most, in bytes: undici takes no longer one either. */
const maxHeldBytes = 16_384;

function statusOf(head: Buffer): string {
  return head.toString('latin1', statusAt, statusEnd);
}

/**
 * Whether every line of a head, as far as it is there, ends with CR and LF. Parsers that take less for the end of a
 * line would see another head than we do, and what of the next bytes is a body: RFC 9112 §2.2, §11.1.
 */
function hasPlainLines(head: Buffer): boolean {
  for (let at = head.indexOf(lineFeed); at !== -1; at = head.indexOf(lineFeed, at + 1))
    if (head[at - 1] !== carriageReturn) return false;
  for (let at = head.indexOf(carriageReturn); at !== -1; at = head.indexOf(carriageReturn, at + 1))
    if (at + 1 < head.length && head[at + 1] !== lineFeed) return false;
  return true;
}

/** What bytes are the beginning of: a head below 200 that another one follows, what ends the wait, or too few to tell. */
function kindOf(bytes: Buffer): 'final' | 'interim' | 'unclear' {
  const known = Math.min(bytes.length, prefix.length);
  if (prefix.compare(bytes, 0, known, 0, known) !== 0) return 'final';
  if (bytes.length >= statusAt && bytes[statusAt - 1] !== space) return 'final';
  if (bytes.length > statusAt && bytes[statusAt] !== digitOne) return 'final';
  if (bytes.length <= statusEnd) return 'unclear';
  const after = bytes[statusEnd];
  if (after !== space && after !== carriageReturn) return 'final';
  return statusOf(bytes) === '101' ? 'final' : 'interim';
}

/** What of a socket is used. */
interface Readable {
  read: (this: Readable, size?: number) => unknown;
}

/**
 * Takes `100 Continue` out of what undici reads of a connection. Nobody asked for it, as undici sends no `expect`, but
 * servers may send it all the same, any number of times, and a client has to go on waiting; undici gives up the
 * connection. Other replies below 200 pass, and so does all that is not plainly one: undici decides about it.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-15.2 | RFC 9110 §15.2}
 */
export class InterimReplies {
  /** The beginning of a head that is not whole yet. */
  #held: Buffer | undefined;
  #isAtHead = true;
  #isTunnel = false;

  /** @param socket - A request is about to be sent on it; its `read` is replaced. */
  constructor(socket: Readable) {
    const { read } = socket;
    const readFiltered: Readable['read'] = (size) => {
      for (;;) {
        const chunk = read.call(socket, size);
        // Most reads after the first of a reply find nothing.
        if (chunk === null || !this.#isAtHead || !Buffer.isBuffer(chunk)) return chunk;
        const seen = this.#filter(chunk);
        if (seen !== undefined) return seen;
      }
    };
    socket.read = readFiltered;
  }

  /**
   * Another request is being sent: what comes next is the head of a reply.
   *
   * @param isTunnel - Whether it asks for an upgrade or is a CONNECT. undici takes any reply to the first for a refusal, and
   * any to the second for its end: those below 200 are all kept from it.
   */
  expect(isTunnel: boolean): void {
    this.#isAtHead = true;
    this.#isTunnel = isTunnel;
  }

  /** @returns what the reader is to see of `chunk` and of what was held; nothing, if it has to wait for more */
  #filter(chunk: Buffer): Buffer | undefined {
    // One byte tells of nearly all heads that they are no interim ones.
    if (this.#held === undefined && chunk.length > statusAt && chunk[statusAt] !== digitOne) {
      this.#isAtHead = false;
      return chunk;
    }
    let rest = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = undefined;
    const passed: Buffer[] = [];
    while (rest.length > 0) {
      const head = this.#takeHead(rest);
      if (head === undefined) break;
      if (!this.#isAtHead || !(this.#isTunnel || statusOf(head) === '100')) passed.push(head);
      rest = rest.subarray(head.length);
    }
    return passed.length > 1 ? Buffer.concat(passed) : passed[0];
  }

  /** The next head below 200; or everything, from another head on. Holds what is not whole. */
  #takeHead(bytes: Buffer): Buffer | undefined {
    const kind = kindOf(bytes);
    const end = kind === 'interim' ? bytes.indexOf(endOfHead) : -1;
    const head = end === -1 ? bytes : bytes.subarray(0, end + endOfHead.length);
    const isPlain = kind === 'final' || hasPlainLines(head);
    if (isPlain && end !== -1) return head;
    if (isPlain && kind !== 'final' && bytes.length <= maxHeldBytes) {
      this.#held = bytes;
      return undefined;
    }
    this.#isAtHead = false;
    return bytes;
  }
}
