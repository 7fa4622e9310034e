// Tokens over time, as the official client sees them: the word before the end, renewal, the end, revocation on both kinds
// of stores, and an issuer whose keys change. Rows J8 and J9 of the project's list of hostile inputs.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { client, connect, refused } from './lib/client.mjs';
import { accepted, hasFields, ISO, refusedWith } from './lib/expect.mjs';
import { Proxy } from './lib/proxy.mjs';
import { showingLog, startServer, temporaryFolder } from './lib/server.mjs';
import { startPostgres } from './lib/services.mjs';
import { seconds, sign } from './lib/tokens.mjs';
import { PATIENCE, pause, unique, within } from './lib/wait.mjs';

const claims = (more = {}) => ({ userId: unique('user'), username: 'Ada', iat: seconds(), ...more });
const INVALID = { message: 'Invalid token', data: { code: 'token_invalid' } };
const refusal = ({ message, data }) => ({ message, data });

/** Milliseconds from now until a client that is being put out is gone; it is told why first. */
async function gone(made, code, message, since = performance.now()) {
  hasFields(await made.next('error'), { code, message, event: 'token' }, 'error');
  return (await made.nextRecord('disconnect')).at - since;
}

describe('tokens that end', { concurrency: 8 }, async () => {
  const server = await startServer();
  after(() => server.stop());
  const check = (name, body) => test(name, showingLog(server, body));

  check('a client is told a minute before, and not sooner', async (t) => {
    const exp = seconds(65);
    const ada = await connect(t, server, { claims: claims({ exp }) });
    assert.deepEqual(ada.all('auth:expiring'), []);
    hasFields(await ada.next('auth:expiring'), { in: 60 }, 'auth:expiring');
    const left = exp * 1000 - Date.now();
    assert.ok(left > 59_000 && left <= 60_000, `told ${left} ms before the end`);
  });

  check('a client that connects with less is told at once', async (t) => {
    const ada = await connect(t, server, { claims: claims({ exp: seconds(30) }) });
    const told = await ada.next('auth:expiring');
    assert.ok(told.in === 29 || told.in === 30, JSON.stringify(told));
  });

  check('J8: the connection ends within a second of its token, and says why', async (t) => {
    const exp = seconds(3);
    const ada = await connect(t, server, { claims: claims({ exp }) });
    await gone(ada, 'token_expired', 'The token has expired');
    const late = Date.now() - exp * 1000;
    assert.ok(late >= -20 && late < 1_000, `${late} ms after the end`);
  });

  check('another token of the same user takes the place of the old one', async (t) => {
    const who = claims({ exp: seconds(3) });
    const ada = await connect(t, server, { claims: who });
    const exp = seconds(600);
    const answer = accepted(await ada.emitAck('auth:refresh', { token: sign({ ...who, exp }) }));
    hasFields(answer, { expiresAt: ISO }, 'the ack');
    assert.equal(Date.parse(answer.expiresAt), exp * 1000);
    await pause(who.exp * 1000 + 1_200 - Date.now()); // the old one has ended by then
    accepted(await ada.emitAck('presence:update', { status: 'busy' }));
    assert.deepEqual([...ada.all('error'), ...ada.all('disconnect')], []);
  });

  check('without a callback the token is renewed as well', async (t) => {
    const who = claims({ exp: seconds(3) });
    const ada = await connect(t, server, { claims: who });
    ada.emit('auth:refresh', { token: sign({ ...who, exp: undefined }) });
    await pause(who.exp * 1000 + 1_200 - Date.now());
    accepted(await ada.emitAck('presence:update', { status: 'busy' }));
  });

  check('J8: a token that is refused changes nothing, and the old one ends when it would have', async (t) => {
    const who = claims({ exp: seconds(5) });
    const ada = await connect(t, server, { claims: who });
    for (const [token, code] of [
      [sign(claims({ exp: seconds(600) })), 'token_invalid'],
      [sign({ ...who, exp: seconds(600) }, { key: 'another secret of more than thirty-two bytes' }), 'token_invalid'],
      ['nonsense', 'token_invalid'],
      ['', 'token_invalid'],
      ['x'.repeat(20_000), 'token_invalid'],
      [sign({ ...who, exp: seconds(-10) }), 'token_expired'],
    ]) {
      refusedWith(await ada.emitAck('auth:refresh', { token }), code);
      hasFields(await ada.next('error'), { code, event: 'auth:refresh' }, 'error');
    }
    for (const token of [5, null, {}, ['a'], true]) {
      refusedWith(await ada.emitAck('auth:refresh', { token }), 'bad_request', JSON.stringify(token));
      await ada.next('error', (e) => e.code === 'bad_request');
    }
    await gone(ada, 'token_expired', 'The token has expired');
    const late = Date.now() - who.exp * 1000;
    assert.ok(late >= -20 && late < 1_000, `${late} ms after the end`);
  });

  check('J9: the session is whose token began it, whatever later polls bring', async () => {
    const [ada, eve] = [claims(), claims()].map((who) => ({ ...who, token: sign(who) }));
    const polling = (query, token, options = {}) =>
      fetch(`${server.url}/socket.io/?EIO=4&transport=polling${query}`, {
        ...options, headers: token ? { Authorization: `Bearer ${token}` } : {},
      }).then((response) => response.text());
    const { sid } = JSON.parse((await polling('', ada.token)).slice(1));
    await polling(`&sid=${sid}`, eve.token, { method: 'POST', body: '40' });
    assert.match(await polling(`&sid=${sid}`, eve.token), /^40\{"sid"/);
    // Eve's token would be good for Eve alone; the session is Ada's, so only Ada's renews it.
    for (const [{ token }, ok] of [[eve, false], [ada, true]]) {
      const body = `421["auth:refresh",${JSON.stringify({ token })}]`;
      await polling(`&sid=${sid}`, eve.token, { method: 'POST', body });
      let heard = '';
      while (!heard.includes('431[')) heard += await polling(`&sid=${sid}`, eve.token);
      assert.ok(heard.includes(`431[{"ok":${ok}`), heard);
    }
  });
});

/** Started here rather than in a hook: what they are is in the tests' names. */
const postgres = await startPostgres();
after(() => postgres.stop());

for (const [store, env] of [['the embedded store', {}], ['PostgreSQL', postgres.env]]) {
  describe(`tokens that are revoked, in ${store}`, { concurrency: 4 }, async () => {
    const server = await startServer(env);
    after(() => server.stop());
    const check = (name, body) => test(name, showingLog(server, body));

    check('J8: a token that is revoked by its jti ends its socket within a second, and no other', async (t) => {
      const who = claims();
      const [lost, kept] = ['lost', 'kept'].map((name) => ({ ...who, jti: unique(name), exp: seconds(600) }));
      const [phone, laptop] = [await connect(t, server, { claims: lost }), await connect(t, server, { claims: kept })];
      assert.match(await server.operator('revoke', '--jti', lost.jti, '--for', '1h'), /^revoked jti lost/);
      const took = await gone(phone, 'token_invalid', 'Token revoked');
      assert.ok(took < 1_000, `it took ${took} ms`);
      t.diagnostic(`${Math.round(took)} ms after the command`);
      assert.deepEqual(refusal(await refused(t, server, { claims: lost })), INVALID);
      refusedWith(await laptop.emitAck('auth:refresh', { token: sign(lost) }), 'token_invalid');
      await laptop.next('error');
      await connect(t, server, { claims: kept });
      assert.equal(await server.operator('revoke', '--jti', lost.jti, '--undo'), `believed again: jti ${lost.jti}\n`);
      const until = Date.now() + PATIENCE;
      let back;
      while (!back && Date.now() < until) back = await connect(t, server, { claims: lost }).catch(() => undefined);
      assert.ok(back, 'taken back');
      assert.deepEqual([...laptop.all('disconnect')], []);
    });

    check('J8: a user that is revoked is out on every device within a second, and in again with a later token', async (t) => {
      const who = claims();
      const other = await connect(t, server, { claims: claims() });
      const devices = [];
      for (const more of [{}, { iat: undefined }, { iat: seconds(-3600), jti: 'x' }, { exp: seconds(600) }]) {
        for (const mode of ['websocket', 'polling']) {
          devices.push(await connect(t, server, { claims: { ...who, ...more }, mode }));
        }
      }
      await server.operator('revoke', '--user', who.userId);
      const revoked = performance.now();
      for (const device of devices) {
        const took = await gone(device, 'token_invalid', 'Token revoked', revoked);
        assert.ok(took < 1_000, `it took ${took} ms`);
      }
      for (const iat of [who.iat, undefined]) {
        assert.deepEqual(refusal(await refused(t, server, { claims: { ...who, iat } })), INVALID);
      }
      for (const second = seconds(); seconds() === second; ) await pause(20); // a timer may be a little early
      await connect(t, server, { claims: { ...who, iat: seconds() } });
      assert.match(await server.operator('revoke', '--list'), new RegExp(`^user {2}${who.userId} {2}since .*for ever$`, 'm'));
      accepted(await other.emitAck('presence:update', { status: 'busy' }));
    });

    check('J8: whoever lost the connection and is revoked meanwhile does not come back', async (t) => {
      const who = claims();
      const proxy = await Proxy.open(t, server);
      const ada = client(t, proxy, { claims: who, reconnection: true, reconnectionDelay: 60, reconnectionDelayMax: 60 });
      await ada.open();
      const witness = await connect(t, server, { claims: who });
      proxy.down();
      await ada.next('disconnect');
      await server.operator('revoke', '--user', who.userId);
      await witness.next('disconnect');
      proxy.up();
      hasFields(await ada.next('connect_error', (error) => error.data !== undefined), INVALID, 'connect_error');
      assert.equal(ada.all('connect').length, 1);
    });

    check('J8: what was revoked before a restart is revoked after it', async (t) => {
      const first = await startServer(env);
      const who = claims();
      await first.operator('revoke', '--user', who.userId);
      await first.stop();
      const second = await first.restart();
      t.after(() => second.stop());
      assert.deepEqual(refusal(await refused(t, second, { claims: who })), INVALID);
      await connect(t, second, { claims: claims() });
    });
  });
}

test('J8: a revocation reaches every server on the same PostgreSQL, also one that another service wrote', async (t) => {
  const servers = await Promise.all([startServer(postgres.env), startServer(postgres.env)]);
  t.after(() => Promise.all(servers.map((each) => each.stop())));
  const ways = [
    (id) => servers[0].operator('revoke', '--user', id),
    (id) => postgres.psql(`INSERT INTO alt_ws_revocations (kind, value) VALUES ('user', '${id}')`),
  ];
  for (const revoke of ways) {
    const who = claims();
    const devices = await Promise.all(servers.map((each) => connect(t, each, { claims: who })));
    await revoke(who.userId);
    const since = performance.now();
    for (const device of devices) {
      const took = await gone(device, 'token_invalid', 'Token revoked', since);
      assert.ok(took < 1_000, `it took ${took} ms`);
    }
  }
});

describe('an issuer whose keys change', () => {
  const pairs = Object.fromEntries(['one', 'two'].map((kid) => [kid, generateKeyPairSync('ed25519')]));
  pairs.three = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = (kid) => ({ ...pairs[kid].publicKey.export({ format: 'jwk' }), kid, use: 'sig' });
  const token = (kid, header = { kid }) =>
    sign(claims(), { alg: kid === 'three' ? 'ES256' : 'EdDSA', key: pairs[kid].privateKey, header });

  test('J5: new keys count within two seconds, removed ones no more, and a broken file changes nothing', async (t) => {
    const file = join(temporaryFolder(), 'jwks.json');
    const publish = (...kids) => {
      writeFileSync(`${file}.next`, JSON.stringify({ keys: kids.map(jwk) }));
      renameSync(`${file}.next`, file);
    };
    publish('one');
    const server = await startServer({ JWT_SECRET: '', JWT_JWKS_FILE: file });
    t.after(() => server.stop());
    const logged = (text, count) => {
      const look = async () => {
        while (server.log.split(text).length - 1 < count) await pause(20);
      };
      return within(PATIENCE, look(), () => `${count} x "${text}" in the log\n${server.tail()}`);
    };
    const isLetIn = async (...args) => {
      const error = await connect(t, server, { token: token(...args) }).then(() => undefined, (e) => e);
      if (error) assert.match(error.message, /Invalid token.*token_invalid/);
      return !error;
    };
    assert.deepEqual([await isLetIn('one'), await isLetIn('one', {}), await isLetIn('two')], [true, true, false]);
    const early = await connect(t, server, { token: token('one') });

    const since = performance.now();
    publish('one', 'two', 'three');
    await logged('the keys for tokens were read again', 1);
    const took = performance.now() - since;
    t.diagnostic(`${Math.round(took)} ms after the file was replaced`);
    assert.ok(took < 2_000, `it took ${took} ms`);
    for (const kid of ['one', 'two', 'three']) assert.ok(await isLetIn(kid), kid);
    assert.equal(await isLetIn('one', {}), false, 'which of three?');
    assert.equal(await isLetIn('two', { kid: 'one' }), false, 'signed with another than it names');
    assert.equal(await isLetIn('two', { kid: '../../dev/null' }), false);

    publish('two');
    await logged('the keys for tokens were read again', 2);
    assert.deepEqual([await isLetIn('one'), await isLetIn('two')], [false, true]);
    accepted(await early.emitAck('presence:update', { status: 'busy' }), 'who is in stays in');

    writeFileSync(file, '{"keys":[');
    await logged('the keys for tokens stay as they were', 1);
    await pause(2_200); // two more looks
    assert.equal(server.log.split('the keys for tokens stay as they were').length - 1, 1, 'told once');
    assert.ok(await isLetIn('two'));
    publish('three');
    await logged('the keys for tokens were read again', 3);
    assert.deepEqual([await isLetIn('two'), await isLetIn('three')], [false, true]);
  });
});
