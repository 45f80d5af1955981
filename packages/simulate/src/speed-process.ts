import { callCosts, pickCosts } from './null-transport.js';

const { call, further } = callCosts();
const { pick, cycle } = pickCosts();
process.stdout.write([...call, ...further, pick, cycle].join(' '));
