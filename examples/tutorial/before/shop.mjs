import express from 'express';

const app = express();
app.get('/', async (_request, response) => {
  const reply = await fetch(`${process.env.STOCK_URL}/tea`);
  response.status(reply.status).send(`${await reply.text()}\n`);
});
app.listen(process.env.PORT);
