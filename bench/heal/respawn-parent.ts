// The bare respawn, as many write it by hand: node:cluster, three workers on one port, and a new
// one whenever one exits. Its whole supervision is the line with `exit`.
import cluster from 'node:cluster';

const [file = '', count = '3'] = process.argv.slice(2);

cluster.setupPrimary({ exec: file, silent: false });
for (let i = 0; i < Number(count); i += 1) cluster.fork();
cluster.on('exit', () => cluster.fork());
process.on('disconnect', () => process.exit(0));
