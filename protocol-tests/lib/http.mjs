// One HTTP request on a connection of its own, with exactly the headers given.

import { request } from 'node:http';

import { brief, PATIENCE, within } from './wait.mjs';

/** Resolves to `{status, headers, text}`; a 101 counts as an answer and its connection is dropped. */
export function http(server, path, { method = 'GET', headers = {}, body } = {}) {
  const sent = request({ host: '127.0.0.1', port: server.port, path, method, headers, agent: false });
  const answer = new Promise((resolve, reject) => {
    sent.on('error', reject);
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers, text: '' });
    });
    sent.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
      response.on('error', reject);
    });
  });
  sent.end(body);
  return within(PATIENCE, answer, () => `an answer to ${method} ${brief(path, 120)}`).finally(() => sent.destroy());
}

/** Asks for a WebSocket; resolves as `http` does, with 101 when it was granted. */
export const askForWebSocket = (server, { query = '', headers = {} } = {}) =>
  http(server, `/socket.io/?EIO=4&transport=websocket${query}`, {
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    },
  });
