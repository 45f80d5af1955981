import express from 'express';

const app = express();
app.get('/tea', (_request, response) => {
  response.json({ left: 3 });
});
app.listen(process.env.PORT);
