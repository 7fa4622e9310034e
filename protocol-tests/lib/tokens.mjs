// Tokens signed with node:crypto alone, so that the server's own JWT code is never what checks itself.

import { createHmac, sign as signWith } from 'node:crypto';

/** The JWT_SECRET of every server started here. */
export const SECRET = 'protocol-tests: a secret of more than thirty-two bytes';

/** Every token made in this process: none of them may show up in a server's log. */
export const issued = new Set();

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

const signers = {
  HS256: (data, key) => createHmac('sha256', key).update(data).digest(),
  RS256: (data, key) => signWith('sha256', data, key),
  ES256: (data, key) => signWith('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (data, key) => signWith(null, data, key),
  none: () => Buffer.alloc(0),
};

/** A token for `claims`, HS256 with the servers' secret unless told otherwise; `header` has further members. */
export function sign(claims, { alg = 'HS256', key = SECRET, header = {} } = {}) {
  const data = `${part({ alg, typ: 'JWT', ...header })}.${part(claims)}`;
  const token = `${data}.${signers[alg](Buffer.from(data), key).toString('base64url')}`;
  issued.add(token);
  return token;
}

/** Seconds since the epoch, `offset` seconds from now. */
export const seconds = (offset = 0) => Math.floor(Date.now() / 1000) + offset;
