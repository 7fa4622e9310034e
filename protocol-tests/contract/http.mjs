// Contract, section 6, and the Engine.IO handshake of section 1: what plain HTTP sees.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { hasFields, ISO } from '../lib/expect.mjs';
import { askForWebSocket, http } from '../lib/http.mjs';
import { startServer } from '../lib/server.mjs';

const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';
const FOREIGN = [
  'null',
  'https://evil.example',
  'https://app.example.com.evil',
  'https://evilapp.example.com',
  'https://sub.app.example.com',
  'http://app.example.com',
  'https://app.example.com:8443',
  'https://app.example.com/',
  'https://app.example',
];
const ALLOWED = ['https://app.example.com', 'http://localhost:3000'];

export function plainHttp(server) {
  test('http: GET /health says that it serves', async () => {
    const { status, headers, text } = await http(server, '/health');
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^application\/json/);
    const health = JSON.parse(text);
    hasFields(health, { status: 'ok', service: 'ALT WebSocket Service', timestamp: ISO }, '/health');
    assert.equal(typeof health.uptime, 'number');
    assert.ok('stores' in health && 'sockets' in health, text);
  });

  for (const [path, expected] of [
    ['/livez', 200],
    ['/readyz', 200],
    ['/', 200],
    ['/nonsense', 404],
    ['/healthz', 404],
    ['/socket.iox/?EIO=4&transport=polling', 404],
    ['/dev/token?user=1&name=x', 404],
  ]) {
    test(`http: GET ${path} in production is ${expected}`, async () => {
      assert.equal((await http(server, path)).status, expected);
    });
  }

  test('http: GET /metrics is for Prometheus on this machine, and not for what a proxy passes on', async () => {
    const { status, headers, text } = await http(server, '/metrics');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.match(text, /^# TYPE alt_ws_sockets gauge\nalt_ws_sockets \d+$/m);
    const passedOn = await http(server, '/metrics', { headers: { 'X-Forwarded-For': '192.0.2.1' } });
    assert.equal(passedOn.status, 404);
  });

  test('http: the handshake offers what the old service offered', async () => {
    const { status, text } = await http(server, HANDSHAKE);
    assert.equal(status, 200);
    assert.match(text, /^0\{/);
    const open = JSON.parse(text.slice(1));
    hasFields(open, { pingInterval: 25_000, pingTimeout: 60_000, maxPayload: 1_000_000, upgrades: ['websocket'] });
    assert.match(open.sid, /^[\w-]{20}$/);
  });
}

export async function cors() {
  const listed = await startServer({ CORS_ORIGIN: ALLOWED.join(',') });
  const open = await startServer({ CORS_ORIGIN: '*' });

  describe('CORS', () => {
    after(() => Promise.all([listed.stop(), open.stop()]));

    const granted = ({ headers }) => headers['access-control-allow-origin'];
    const varies = ({ headers }) => assert.match(headers.vary ?? '', /\borigin\b/i, 'Vary');

    for (const path of ['/health', HANDSHAKE]) {
      for (const origin of ALLOWED) {
        test(`${path} from ${origin}, which is on the list`, async () => {
          const answer = await http(listed, path, { headers: { Origin: origin } });
          assert.equal(answer.status, 200);
          assert.equal(granted(answer), origin);
          assert.equal(answer.headers['access-control-allow-credentials'], 'true');
          varies(answer);
        });
      }

      test(`${path} from origins that are not on the list: none is reflected`, async () => {
        for (const origin of FOREIGN) {
          const answer = await http(listed, path, { headers: { Origin: origin } });
          assert.ok(granted(answer) !== origin && granted(answer) !== '*', `${origin} got ${granted(answer)}`);
          varies(answer);
        }
      });

      test(`${path} with CORS_ORIGIN=* never reflects`, async () => {
        const answer = await http(open, path, { headers: { Origin: 'https://evil.example' } });
        assert.equal(granted(answer), '*');
        assert.ok(!('access-control-allow-credentials' in answer.headers), 'a wildcard carries no credentials');
      });
    }

    test('a preflight is answered for the list alone', async () => {
      const ask = (origin) =>
        http(listed, HANDSHAKE, {
          method: 'OPTIONS',
          headers: {
            Origin: origin,
            'Access-Control-Request-Method': 'POST',
            'Access-Control-Request-Headers': 'authorization,content-type',
          },
        });
      const answer = await ask(ALLOWED[0]);
      assert.ok([200, 204].includes(answer.status), String(answer.status));
      assert.equal(granted(answer), ALLOWED[0]);
      assert.match(answer.headers['access-control-allow-headers'] ?? '', /authorization/i);
      assert.match(answer.headers['access-control-allow-methods'] ?? '', /POST/);
      assert.equal(answer.headers['access-control-allow-credentials'], 'true');
      const { headers } = await ask('https://evil.example');
      const permissions = Object.keys(headers).filter((name) => name.startsWith('access-control-'));
      assert.deepEqual(permissions, [], 'nothing is permitted to a stranger');
      varies({ headers });
    });

    test('the WebSocket upgrade is refused to a foreign origin', async () => {
      for (const origin of FOREIGN) {
        const { status } = await askForWebSocket(listed, { headers: { Origin: origin } });
        assert.equal(status, 403, origin);
      }
    });

    test('the WebSocket upgrade is granted to the list', async () => {
      for (const origin of ALLOWED) {
        assert.equal((await askForWebSocket(listed, { headers: { Origin: origin } })).status, 101, origin);
      }
      assert.equal((await askForWebSocket(open, { headers: { Origin: 'https://evil.example' } })).status, 101, 'to *');
    });

    test('an upgrade of a live session is refused to a foreign origin as well', async () => {
      const { text } = await http(listed, HANDSHAKE, { headers: { Origin: ALLOWED[0] } });
      const { sid } = JSON.parse(text.slice(1));
      const answer = await askForWebSocket(listed, { query: `&sid=${sid}`, headers: { Origin: FOREIGN[1] } });
      assert.equal(answer.status, 403);
    });
  });
}
