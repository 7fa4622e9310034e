// A TCP proxy before a server, to take its clients' connections away.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Proxy {
  #pairs = new Set();
  #isDown = false;

  static async open(t, server) {
    const proxy = new Proxy();
    proxy.listener = createServer((client) => proxy.#serve(client, server.port)).listen(0, '127.0.0.1');
    await once(proxy.listener, 'listening');
    proxy.url = `http://127.0.0.1:${proxy.listener.address().port}`;
    t.after(() => {
      proxy.down();
      proxy.listener.close();
    });
    return proxy;
  }

  #serve(client, port) {
    if (this.#isDown) return client.destroy();
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    const pair = [client, upstream];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client]]) {
      from.pipe(to);
      from.on('error', () => {}); // 'close' follows
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** Ends every connection; new ones are taken. */
  cut() {
    for (const pair of this.#pairs) pair.forEach((socket) => socket.destroy());
  }

  /** Ends every connection and takes none until `up`. */
  down() {
    this.#isDown = true;
    this.cut();
  }

  up() {
    this.#isDown = false;
  }
}
