// A real nginx in front of a server, with the very lines that docs/deploy.md tells people to use.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { freePort, Process, temporaryFolder } from './server.mjs';

const program = process.env.NGINX ?? '/usr/sbin/nginx';

/** The block of the documentation: what goes into `http`, and what goes into `server`. */
function documented() {
  const text = readFileSync(new URL('../../docs/deploy.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```nginx\n(.*?)^```$/gms)];
  assert.equal(blocks.length, 1, 'docs/deploy.md has one block for nginx');
  const [http, ...server] = blocks[0][1].split('\n\n');
  assert.ok(http.startsWith('map ') && server.join('').startsWith('location /socket.io/'), blocks[0][1]);
  return { http, server: server.join('\n') };
}

/** nginx as a child process: no daemon, nothing outside of its folder, and it needs no other user to change to. */
export class Nginx {
  #folder = temporaryFolder();

  static async before(server) {
    assert.ok(existsSync(program), `${program} is missing: apt-get install -y --no-install-recommends nginx`);
    const nginx = new Nginx();
    nginx.port = await freePort();
    nginx.url = `http://127.0.0.1:${nginx.port}`;
    const { http, server: location } = documented();
    const upstream = 'http://127.0.0.1:3001;';
    assert.ok(location.includes(upstream), location);
    const folder = nginx.#folder;
    const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    for (const kind of kinds) mkdirSync(join(folder, kind));
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off;
      master_process off;
      pid ${folder}/pid;
      error_log stderr warn;
      events { worker_connections 256; }
      http {
        access_log off;
        ${kinds.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n        ')}
        ${http}
        server {
          listen 127.0.0.1:${nginx.port};
          ${location.replace(upstream, `${server.url};`)}
        }
      }`,
    );
    await nginx.start();
    return nginx;
  }

  async start() {
    this.process = new Process(program, ['-p', this.#folder, '-c', join(this.#folder, 'nginx.conf'), '-e', 'stderr'], {}, this.#folder);
    await this.process.ready(`${this.url}/socket.io/socket.io.min.js`);
  }

  /** Ends at once: every connection is cut. */
  async stop() {
    assert.equal((await this.process.signal('SIGTERM')).code, 0, this.process.tail());
  }
}
