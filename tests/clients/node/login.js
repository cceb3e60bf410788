// The Node client etcd3 with users and passwords: URL, file of the authority ('' for none).
'use strict';

const assert = require('assert');
const fs = require('fs');
const { Etcd3 } = require('etcd3');

const [, , url, authority] = process.argv;
const connect = (auth) => new Etcd3({ hosts: url, auth, credentials: authority ? { rootCertificate: fs.readFileSync(authority) } : undefined });

async function refused(promise, text) {
  try {
    await promise;
  } catch (e) {
    assert.ok(e.message.includes(text), `refused with ${e.message}, not ${text}`);
    return;
  }
  assert.fail(`not refused: ${text}`);
}

async function main() {
  const ann = connect({ username: 'ann', password: 'pw-ann' });
  await ann.put('team/node').value('1');
  assert.strictEqual(await ann.get('team/node').string(), '1');
  await refused(ann.put('other').value('1').exec(), 'permission denied');
  await refused(ann.getAll().prefix('').keys(), 'permission denied');
  await refused(ann.auth.userList(), 'permission denied');
  const seen = new Promise((resolve) => ann.watch().key('team/node').create().then((w) => w.on('put', (kv) => resolve(kv.value.toString()))));
  await new Promise((done) => setTimeout(done, 500));
  await ann.put('team/node').value('2');
  assert.strictEqual(await seen, '2');
  const lease = ann.lease(20);
  await lease.put('team/leased').value('1');
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.strictEqual(await ann.get('team/leased').string(), null);
  await ann.lock('team/lock').do(() => ann.put('team/node').value('3'));
  // Its token is idle for longer than it lives: the client logs in again.
  await new Promise((done) => setTimeout(done, 4500));
  assert.strictEqual(await ann.get('team/node').string(), '3');
  await ann.delete().prefix('team/');
  ann.close();
  const wrong = connect({ username: 'ann', password: 'wrong' });
  await refused(wrong.get('team/node').string(), 'authentication failed');
  wrong.close();
  const root = connect({ username: 'root', password: 'pw-root' });
  await root.user('node').create('x');
  await root.role('node').create();
  await root.role('node').grant({ permission: 'Readwrite', key: Buffer.from('n/'), range_end: Buffer.from('n0') });
  await root.user('node').addRole('node');
  assert.deepStrictEqual((await root.user('node').roles()).map((r) => r.name), ['node']);
  await root.user('node').delete();
  await root.role('node').delete();
  root.close();
  console.log('ok login, rights, watch, lease, lock, a token that ended, users and roles');
}

// Timers of the client keep the program alive after close().
main().then(() => process.exit(0), (e) => {
  console.error('FAILED:', e);
  process.exit(1);
});
