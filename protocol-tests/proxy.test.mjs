// A page of another origin, in a real browser, through a real nginx: what most people will run.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { after, test } from 'node:test';

import { launch } from './lib/browser.mjs';
import { connect } from './lib/client.mjs';
import { accepted } from './lib/expect.mjs';
import { Nginx } from './lib/nginx.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { PATIENCE, unique, within } from './lib/wait.mjs';
import { say, saying } from './lib/world.mjs';

const MOST = 6;
const BUNDLE = new URL('node_modules/socket.io-client/dist', import.meta.url).pathname;

/** A front end on an origin of its own: a page that loads the client's script from `script`. */
async function frontEnd() {
  const site = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><title>front end</title><script src="${site.script}"></script>`);
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  after(() => site.close());
  return Object.assign(site, { origin: `http://127.0.0.1:${site.address().port}` });
}

const listed = await frontEnd();
const stranger = await frontEnd();
const server = await startServer({
  CORS_ORIGIN: listed.origin,
  CLIENT_BUNDLE_DIR: BUNDLE,
  COOKIE_NAME: 'io',
  TRUST_PROXY: '127.0.0.1',
  MAX_CONNECTIONS_PER_IP: String(MOST),
  OPEN_ROOMS: 'true',
  WS_DEFLATE: 'true', // browsers offer it, and compress all that they send
});
after(() => server.stop());
const nginx = await Nginx.before(server);
after(() => nginx.process.signal('SIGTERM'));
for (const site of [listed, stranger]) site.script = `${nginx.url}/socket.io/socket.io.min.js`;
const browser = await launch();
after(() => browser.close());

const throughProxy = (name, body) => test(name, { timeout: 90_000 }, showingLog(server, body));

/** A page of `site` whose client connects through nginx with what a front end would say. */
async function page(t, site, options = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  const made = await context.newPage();
  made.complaints = [];
  made.on('pageerror', (error) => made.complaints.push(error.message));
  await made.goto(site.origin);
  await made.evaluate(
    ([url, options]) => {
      window.heard = [];
      window.socket = io(url, { withCredentials: true, reconnectionDelay: 100, reconnectionDelayMax: 200, ...options });
      const note = (event, detail) => heard.push({ event, detail });
      socket.on('connect', () => note('connect'));
      socket.on('disconnect', (reason) => note('disconnect', reason));
      socket.on('connect_error', (error) => note('connect_error', error.message));
      socket.io.on('open', () => {
        note('open', socket.io.engine.transport.name);
        socket.io.engine.once('upgrade', (transport) => note('upgrade', transport.name));
      });
      socket.onAny((event, detail) => note(event, detail));
    },
    [nginx.url, options],
  );
  /** Waits for an event whose detail, as JSON, has `part` in it, and takes it. */
  made.hears = (event, part = '') =>
    made
      .waitForFunction(
        ([event, part]) => {
          const at = heard.findIndex((h) => h.event === event && JSON.stringify(h.detail ?? '').includes(part));
          return at < 0 ? false : heard.splice(at, 1)[0];
        },
        [event, part],
      )
      .then((handle) => handle.jsonValue())
      .catch(async (error) => {
        const heard = JSON.stringify(await made.evaluate(() => heard.slice(-10)));
        throw new Error(`the page waited for ${event} ${part}; it heard ${heard}; ${made.complaints}; ${nginx.process.tail(10)}`, { cause: error });
      });
  made.ask = (event, payload) =>
    made.evaluate(([event, payload]) => socket.timeout(8000).emitWithAck(event, payload), [event, payload]);
  return made;
}

throughProxy('a page of a listed origin chats through nginx, upgrades, and comes back when the connection is cut', async (t) => {
  const room = unique('through');
  const ada = await connect(t, server, { claims: { userId: unique('ada'), username: 'Ada' } });
  accepted(await ada.emitAck('room:join', { roomId: room }));
  const bob = await page(t, listed, { auth: { token: sign({ userId: unique('bob'), username: 'Bob' }) } });
  await bob.hears('open', 'polling');
  await bob.hears('upgrade', 'websocket');
  await bob.hears('connect');
  accepted(await bob.ask('room:join', { roomId: room }));

  const morning = await say(ada, room, saying('good morning'));
  const heard = await bob.hears('message:new', morning);
  const answer = saying('and to you');
  accepted(await bob.ask('message:send', { roomId: room, content: answer }));
  await ada.next('message:new', (m) => m.content === answer);

  const [cookie] = await bob.context().cookies(nginx.url);
  const sid = await bob.evaluate(() => socket.io.engine.id);
  assert.deepEqual(
    [cookie.name, cookie.value, cookie.httpOnly, cookie.sameSite, cookie.secure, cookie.path],
    ['io', sid, true, 'Lax', false, '/'],
  );
  assert.equal(await bob.evaluate(() => document.cookie), '', 'the page cannot read it');

  await nginx.stop();
  await bob.hears('disconnect', 'transport');
  const meanwhile = await say(ada, room, saying('are you there'));
  await nginx.start();
  await bob.hears('connect');
  accepted(await bob.ask('room:join', { roomId: room, since: heard.detail.seq + 1 }));
  await bob.hears('room:joined', meanwhile);
  const again = await say(ada, room, saying('welcome back'));
  await bob.hears('message:new', again);
  assert.deepEqual(bob.complaints, [], 'script errors on the page');
});

throughProxy('a page that polls is sent long answers compressed, and reads them', async (t) => {
  const room = unique('long');
  const ada = await connect(t, server, { claims: { userId: unique('ada'), username: 'Ada' } });
  accepted(await ada.emitAck('room:join', { roomId: room }));
  const bob = await page(t, listed, {
    transports: ['polling'],
    auth: { token: sign({ userId: unique('bob'), username: 'Bob' }) },
  });
  const codings = [];
  bob.on('response', (response) => codings.push(response.headers()['content-encoding']));
  await bob.hears('connect');
  accepted(await bob.ask('room:join', { roomId: room }));
  const content = await say(ada, room, `${saying('long')} ${'over and over '.repeat(3000)}`);
  assert.equal((await bob.hears('message:new', 'over and over')).detail.content, content);
  assert.ok(codings.includes('gzip'), String(codings));
});

throughProxy('E11: a page of an origin that is not listed is refused on both transports', async (t) => {
  for (const transports of [['polling'], ['websocket']]) {
    const eve = await page(t, stranger, { transports, auth: { token: sign({ userId: unique('eve') }) } });
    await eve.hears('connect_error');
    assert.equal(await eve.evaluate(() => socket.connected), false);
    assert.deepEqual(await eve.context().cookies(nginx.url), [], 'nor given a cookie');
  }
});

/** Asks nginx for a WebSocket from an address of this machine, and keeps it. */
function webSocketFrom(t, localAddress, headers = {}) {
  const sent = request({
    host: '127.0.0.1', port: nginx.port, localAddress, agent: false,
    path: '/socket.io/?EIO=4&transport=websocket',
    headers: {
      Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers,
    },
  });
  const answer = new Promise((resolve, reject) => {
    sent.on('error', reject);
    sent.on('upgrade', (response, socket) => {
      socket.on('error', () => {});
      t.after(() => socket.destroy());
      resolve({ status: response.statusCode, socket });
    });
    sent.on('response', (response) => resolve({ status: response.resume().statusCode }));
  });
  sent.end();
  return within(PATIENCE, answer, () => `an answer through nginx to ${localAddress}`);
}

throughProxy('H6: behind nginx each address has a limit of its own, and a forged header does not get around it', async (t) => {
  const held = [];
  for (let i = 0; i < MOST; i++) held.push(await webSocketFrom(t, '127.0.0.2'));
  assert.deepEqual(held.map(({ status }) => status), Array(MOST).fill(101));
  for (const headers of [{}, { 'X-Forwarded-For': '203.0.113.9' }, { Forwarded: 'for=203.0.113.9' }]) {
    assert.equal((await webSocketFrom(t, '127.0.0.2', headers)).status, 429, JSON.stringify(headers));
  }
  assert.equal((await webSocketFrom(t, '127.0.0.3')).status, 101, 'another client');
  held[0].socket.destroy();
  const deadline = Date.now() + PATIENCE;
  while ((await webSocketFrom(t, '127.0.0.2')).status !== 101) assert.ok(Date.now() < deadline, 'a place is given back');
});
