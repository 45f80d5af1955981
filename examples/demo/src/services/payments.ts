import { createEchoServer } from '../echo-server.js';
import { sendJson } from '../routes.js';
import { runService } from '../run-service.js';

/** How often each payment was made: more than once would be somebody's money. */
const ledger = new Map<string, number>();

function pay(id: string): void {
  ledger.set(id, (ledger.get(id) ?? 0) + 1);
}

await runService({
  framework: 'http',
  routes: () => [
    {
      method: 'POST',
      path: '/payments',
      async handle(request, response) {
        let id = '';
        for await (const chunk of request) id += String(chunk);
        pay(id);
        sendJson(response, { paid: id });
      },
    },
    {
      method: 'GET',
      path: '/ledger',
      handle: (_request, response) =>
        sendJson(response, {
          payments: ledger.size,
          duplicates: [...ledger.values()].filter((count) => count > 1).length,
        }),
    },
  ],
  extend: (mesh, server, counts) =>
    server.addGrpc(
      createEchoServer(mesh, counts, (text) => {
        if (text.startsWith('payment ')) pay(text);
      }),
    ),
});
