import { type ConnectionFacts, FlatHeaders, type Headers, type RequestFacts } from '@inmesh/core';
import { addSpellings, type RouterEquivalence, type Spellings } from './equivalence.js';
import { type Address, parseAddress } from './ip-blocks.js';
import { type PeerView, peerView } from './peer-view.js';

const remoteAddresses = new WeakMap<ConnectionFacts, Address | null>();

const noHeaders: Headers = new FlatHeaders([]);
const noFacts: RequestFacts = Object.freeze({
  method: '',
  path: '',
  authority: '',
  connection: Object.freeze({
    peer: undefined,
    isEncrypted: false,
    remoteIp: '',
    remotePort: 0,
    localIp: '',
    localPort: 0,
    sni: '',
  }),
});

/** What one decision looks at; one object per policy set, filled anew for each decision. */
export class TestInput {
  facts: RequestFacts = noFacts;
  headers: Headers = noHeaders;
  /** Path as it stands. */
  path = '';
  peer: PeerView | undefined;
  readonly #router: RouterEquivalence;
  readonly #spellings: Spellings = { paths: [], keys: [] };
  #isSpelled = false;

  /** @param router - Of the application. */
  constructor(router: RouterEquivalence) {
    this.#router = router;
  }

  /** Begins a decision. */
  fill(facts: RequestFacts, headers: Headers): void {
    const { peer } = facts.connection;
    this.facts = facts;
    this.headers = headers;
    this.path = facts.path;
    this.peer = peer === undefined ? undefined : peerView(peer.id);
    this.#isSpelled = false;
  }

  /** What the router may take the path for; made when a decision first asks. */
  spellings(): Spellings {
    const spellings = this.#spellings;
    if (this.#isSpelled) return spellings;
    this.#isSpelled = true;
    spellings.paths.length = 0;
    spellings.keys.length = 0;
    addSpellings(this.path, this.#router, spellings);
    return spellings;
  }

  /** Address of the TCP peer, read once per connection; `null` if it is none. */
  remoteAddress(): Address | null {
    const { connection } = this.facts;
    let address = remoteAddresses.get(connection);
    if (address === undefined) {
      address = parseAddress(connection.remoteIp) ?? null;
      remoteAddresses.set(connection, address);
    }
    return address;
  }
}

/** One condition of a clause. */
export type Test = (input: TestInput) => boolean;

/** Negates a condition. */
export function not(test: Test): Test {
  return (input) => !test(input);
}
