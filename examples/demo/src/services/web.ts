import { callEcho, createEchoClient } from '../echo-client.js';
import { Hops } from '../hops.js';
import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

const hops = new Hops();

await runService({
  framework: 'express',
  hops,
  routes: (mesh) => {
    const payments = createEchoClient(mesh);
    const failed = (response: Parameters<typeof sendJson>[0], error: unknown): void =>
      sendJson(response, { error: String((error as Error).cause ?? error) }, 502);
    return [
      {
        method: 'GET',
        path: '/shop',
        async handle(_request, response) {
          try {
            const reply = await hops.time('orders', () => mesh.fetch('http://orders/order'));
            const order: unknown = await reply.json();
            const payment = await hops.time('payments', () => callEcho(payments, 'quote 9.95'));
            sendJson(response, { order, payment });
          } catch (error) {
            failed(response, error);
          }
        },
      },
      {
        // Once by HTTP and once by gRPC, for each that comes in: neither may happen twice.
        method: 'POST',
        path: '/payments',
        async handle(request, response) {
          let id = '';
          for await (const chunk of request) id += String(chunk);
          try {
            await mesh.fetch('http://payments/payments', { method: 'POST', body: `http ${id}` });
            await callEcho(payments, `payment ${id}`);
            sendJson(response, { paid: id });
          } catch (error) {
            failed(response, error);
          }
        },
      },
    ];
  },
});
