/**
 * What a service tries that was taken over, as the source of a script: prints for each attempt `done`, or the error that stopped it.
 * `STATE` in the environment is its own folder.
 */
export const probeSource = `
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');

const attempt = (what, act) => {
  try { act(); console.log(what + ': done'); } catch (error) { console.log(what + ': ' + (error.info?.code ?? error.code ?? error.message)); }
};
const program = (command, ...args) => {
  const { status, error } = spawnSync(command, args, { stdio: 'ignore' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error('refused');
};

console.log('user: ' + os.userInfo().username);
console.log('privileges: ' + /CapBnd:\\t(\\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
const own = process.env.STATE;
attempt('write own folder', () => { fs.writeFileSync(own + '/probe', 'x'); fs.rmSync(own + '/probe'); });
for (const folder of ['/usr', '/etc', '/etc/sigilwatch', '/var/lib', '/home', '/root', '/dev', '/run'])
  attempt('write ' + folder, () => fs.writeFileSync(folder + '/probe', 'x'));
for (const path of ['/etc/shadow', '/etc/ssh', '/var/lib/sigilwatch-other', '/proc/1/environ', '/root'])
  attempt('read ' + path, () => (fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path)));
attempt('see other processes', () => { if (!fs.existsSync('/proc/1/stat')) throw new Error('hidden'); });
attempt('make a namespace', () => program('unshare', '--user', 'true'));
attempt('mount', () => program('mount', '-t', 'tmpfs', 'tmpfs', '/tmp'));
attempt('change the clock', () => program('date', '-s', '2001-01-01'));
attempt('look at routes', () => program('ip', 'route'));
attempt('set a group bit', () => { fs.writeFileSync(own + '/s', ''); fs.chmodSync(own + '/s', 0o2755); });
attempt('give a file away', () => fs.chownSync(own, 65534, 65534));
attempt('come before others', () => os.setPriority(-5));
attempt('step behind others', () => os.setPriority(19));

const connecting = (what, target) => new Promise((resolve) => {
  const socket = net.connect(target);
  const say = (outcome) => { console.log(what + ': ' + outcome); socket.destroy(); resolve(); };
  socket.once('connect', () => say('done')).once('error', (error) => say(error.code));
});
const listening = (what, port) => new Promise((resolve) => {
  const server = net.createServer();
  server.once('error', (error) => { console.log(what + ': ' + error.code); resolve(); });
  server.listen(port, '127.0.0.1', () => { console.log(what + ': done'); server.close(resolve); });
});
(async () => {
  for (const path of ['/run/docker.sock', '/run/systemd/private', '/run/sigilwatch-executor/engine.sock'])
    await connecting('connect ' + path, { path });
  await listening('listen on a low port', 80);
  await listening('listen on a port', 0);
})();
`;
