// Two users and a restart: what the README shows. `node two-users.mjs http://localhost:3001`, against a server in
// development, which gives tokens to whoever asks.
import { io } from 'socket.io-client';

const url = process.argv[2] ?? 'http://localhost:3001';
const say = (who, name, data) => console.log(`${who.padEnd(4)} ${name.padEnd(15)} ${JSON.stringify(data)}`);

async function enter(name) {
  const user = name.toLowerCase();
  const { token } = await (await fetch(`${url}/dev/token?user=${user}&name=${name}`)).json();
  const socket = io(url, { auth: { token } });
  socket.onAny((event, data) => say(name, event, data));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  console.log(`${name.padEnd(4)} connected over ${socket.io.engine.transport.name}`);
  return socket;
}

const ada = await enter('Ada');
await ada.emitWithAck('room:join', { roomId: 'lobby', since: 0 });
const bob = await enter('Bob');
await bob.emitWithAck('room:join', { roomId: 'lobby' });
ada.emit('typing:start', { roomId: 'lobby' });
const sent = await ada.emitWithAck('message:send', { roomId: 'lobby', content: 'Hello Bob', clientMsgId: `m${Date.now()}` });
say('Ada', '(ack)', sent);
await bob.emitWithAck('message:read', { roomId: 'lobby', messageId: sent.messageId });
bob.emit('presence:update', { status: 'busy' });
await new Promise((resolve) => ada.once('presence:changed', resolve));
ada.close();
bob.close();
