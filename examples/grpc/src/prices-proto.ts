import { fileURLToPath } from 'node:url';
import {
  type Client,
  type ClientReadableStream,
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** What is asked for. */
export interface Item {
  readonly name: string;
}

/** What it costs. */
export interface Price {
  readonly name: string;
  readonly cents: number;
  readonly setBy?: string;
}

type Done = (error: ServiceError | null, price: Price) => void;

/** A client of `shop.v1.Prices`. */
export interface PricesClient extends Client {
  Get(item: Item, done: Done): void;
  Watch(item: Item): ClientReadableStream<Price>;
  Set(price: Price, done: Done): void;
}

const loaded = loadPackageDefinition(
  loadSync(fileURLToPath(new URL('../proto/prices.proto', import.meta.url)), { defaults: true }),
);

/** Makes clients of `shop.v1.Prices`, and has its definition. */
export const Prices = ((loaded['shop'] as GrpcObject)['v1'] as GrpcObject)[
  'Prices'
] as ServiceClientConstructor;
