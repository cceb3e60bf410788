// Every operation by the Node client etcd3: HOST:PORT.
'use strict';

const assert = require('assert');
const { Etcd3, EtcdLeaseInvalidError } = require('etcd3');

const connect = () => new Etcd3({ hosts: `http://${process.argv[2]}`, grpcOptions: { 'grpc.max_receive_message_length': -1 } });
const client = connect();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function refused(promise, text) {
  try {
    await promise;
  } catch (e) {
    assert.ok(e.message.includes(text), `refused with ${e.message}, not ${text}`);
    return;
  }
  assert.fail(`not refused: ${text}`);
}

async function keysAndValues() {
  await client.put('node/a').value('1');
  assert.strictEqual((await client.put('node/a').value('2').getPrevious()).value.toString(), '1');
  assert.strictEqual(await client.get('node/a').string(), '2');
  const whole = await client.get('node/a').exec();
  assert.strictEqual(whole.count, '1');
  assert.strictEqual(whole.kvs[0].version, '2');
  assert.strictEqual(await client.get('node/a').revision(whole.kvs[0].create_revision).string(), '1');
  assert.strictEqual(await client.get('node/none').string(), null);
  for (let i = 0; i < 5; i++) await client.put(`node/p/${i}`).value(String(9 - i));
  assert.deepStrictEqual(await client.getAll().prefix('node/p/').sort('Key', 'Descend').limit(2).keys(), ['node/p/4', 'node/p/3']);
  assert.strictEqual(await client.getAll().prefix('node/p/').count(), 5);
  assert.deepStrictEqual(Object.keys(await client.getAll().inRange({ start: 'node/p/1', end: 'node/p/3' }).strings()), ['node/p/1', 'node/p/2']);
  assert.strictEqual((await client.delete().key('node/a').exec()).deleted, '1');
  assert.strictEqual((await client.delete().prefix('node/p/').exec()).deleted, '5');
  await refused(client.put('').value('x').exec(), 'key is not provided');
  // Larger than a frame and a window, both ways.
  const large = 'x'.repeat(1000000);
  await client.put('node/large').value(large);
  assert.strictEqual(await client.get('node/large').string(), large);
  await client.delete().key('node/large').exec();
}

async function txns() {
  const create = (value) => client.if('node/t', 'Create', '==', 0).then(client.put('node/t').value(value)).else(client.get('node/t')).commit();
  assert.strictEqual((await create('1')).succeeded, true);
  const second = await create('2');
  assert.strictEqual(second.succeeded, false);
  assert.strictEqual(second.responses[0].response_range.kvs[0].value.toString(), '1');
  const third = await client.if('node/t', 'Value', '==', '1').and('node/t', 'Version', '<', 2).and('node/t', 'Mod', '>', 1)
    .then(client.delete().key('node/t'), client.put('node/u').value('x')).commit();
  assert.strictEqual(third.succeeded, true);
  assert.strictEqual(third.responses[0].response_delete_range.deleted, '1');
  // Software transactional memory, built on the same txns.
  await client.put('node/n').value(0);
  await Promise.all(Array.from({ length: 8 }, () => client.stm({ retries: 50 }).transact((tx) =>
    tx.get('node/n').number().then((n) => tx.put('node/n').value(n + 1)))));
  assert.strictEqual(await client.get('node/n').number(), 8);
}

async function leases() {
  const lease = client.lease(2);
  await lease.put('node/leased').value('x');
  const id = await lease.grant();
  await pause(3000);
  assert.strictEqual(await client.get('node/leased').string(), 'x', 'kept alive');
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  assert.strictEqual(left.grantedTTL, '2');
  assert.strictEqual(left.keys[0].toString(), 'node/leased');
  assert.ok((await client.leaseClient.leaseLeases()).leases.some((l) => l.ID === id));
  lease.release();
  const deadline = Date.now() + 15000;
  while ((await client.get('node/leased').string()) !== null) {
    assert.ok(Date.now() < deadline, 'a key of an expired lease is still there after 15 s');
    await pause(100);
  }
  const other = client.lease(100, { autoKeepAlive: false });
  await other.grant();
  await other.put('node/leased').value('y');
  assert.strictEqual((await other.keepaliveOnce()).TTL, '100');
  await other.revoke();
  assert.strictEqual(await client.get('node/leased').string(), null);
  await assert.rejects(other.keepaliveOnce(), EtcdLeaseInvalidError);
}

async function watches() {
  const first = await client.put('node/w/1').value('old').exec();
  await client.put('node/w/1').value('new');
  const events = [];
  const watcher = await client.watch().prefix('node/w/').startRevision(first.header.revision).withPreviousKV().create();
  watcher.on('put', (kv, previous) => events.push(['put', kv.value.toString(), previous ? previous.value.toString() : null]));
  watcher.on('delete', (kv, previous) => events.push(['delete', kv.key.toString(), previous.value.toString()]));
  await client.delete().key('node/w/1').exec();
  await client.put('node/w/2').value('z');
  const deadline = Date.now() + 15000;
  while (events.length < 4 && Date.now() < deadline) await pause(10);
  assert.deepStrictEqual(events, [['put', 'old', null], ['put', 'new', 'old'], ['delete', 'node/w/1', 'new'], ['put', 'z', null]]);
  await watcher.cancel();
  await client.put('node/w/2').value('unseen');
  await pause(50);
  assert.strictEqual(events.length, 4);
}

async function compaction() {
  const first = await client.put('node/c').value('1').exec();
  const last = await client.put('node/c').value('2').exec();
  await client.kv.compact({ revision: last.header.revision, physical: true });
  await refused(client.get('node/c').revision(first.header.revision).string(), 'required revision has been compacted');
  await refused(client.kv.compact({ revision: last.header.revision }), 'required revision has been compacted');
}

async function maintenance() {
  const status = await client.maintenance.status();
  assert.ok(status.version && Number(status.dbSize) > 0 && status.leader === status.header.member_id, JSON.stringify(status));
  assert.ok((await client.maintenance.hash()).hash > 0);
  await client.put('node/hash').value('x');
  // (Its own hashKV() asks for a method name that its loader does not make.)
  const hashKV = (request) => client.maintenance.client.exec('Maintenance', 'HashKV', request);
  const one = await hashKV({});
  await client.maintenance.defragment();
  assert.strictEqual((await hashKV({ revision: one.header.revision })).hash, one.hash);
  assert.strictEqual((await client.maintenance.alarm({ action: 'Get' })).alarms.length, 0);
  await client.maintenance.alarm({ action: 'Activate', memberID: '5', alarm: 'Nospace' });
  // The client tries again and then takes the host for broken, so one of its own for the refusal.
  const other = connect();
  await refused(other.put('node/full').value('x').exec(), 'database space exceeded');
  other.close();
  await client.maintenance.alarm({ action: 'Deactivate', memberID: '5', alarm: 'Nospace' });
  await client.put('node/full').value('x');
  const stream = await client.maintenance.snapshot();
  let bytes = 0;
  await new Promise((done, fail) => {
    stream.on('data', (m) => { bytes += m.blob.length; });
    stream.on('end', done);
    stream.on('error', fail);
  });
  assert.strictEqual(bytes % 4096, 32, `a snapshot of ${bytes} bytes`);
  const members = (await client.cluster.memberList({})).members;
  assert.strictEqual(members.length, 1);
  assert.strictEqual(members[0].name, 'default');
}

async function main() {
  for (const step of [keysAndValues, txns, leases, watches, compaction, maintenance]) {
    await step();
    console.log('ok', step.name);
  }
  client.close();
}

main().then(() => process.exit(0), (e) => {
  console.log('FAILED:', e);
  process.exit(1);
});
