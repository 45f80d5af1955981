import { callEcho, createEchoClient } from '../echo-client.js';
import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

await runService({
  framework: 'express',
  routes: (mesh) => {
    const payments = createEchoClient(mesh);
    return [
      {
        method: 'GET',
        path: '/shop',
        async handle(_request, response) {
          try {
            const order: unknown = await (await mesh.fetch('http://orders/order')).json();
            const payment = await callEcho(payments, 'pay 9.95');
            sendJson(response, { order, payment });
          } catch (error) {
            sendJson(response, { error: String((error as Error).cause ?? error) }, 502);
          }
        },
      },
    ];
  },
});
