import { join, relative } from 'node:path';
import { projectRoot } from '../../test/system.ts';
import type { Engines } from './engines.ts';
import { type Fleet, images } from './fleet.ts';
import type { Screen } from './screen.ts';

const lists = ['nodes', 'drifts?state=open', 'findings', 'entries?author=lyra&limit=3', 'stats'];

/** How to look around in the system that stays up. */
export function tellHowToUse({ collector, member }: Fleet, engines: Engines, screen: Screen): void {
  const { url, token } = collector;
  const agentSettings = join(member('node1').agent.dir, 'agent.yaml');
  screen.line();
  screen.line('It stays up until you press Ctrl-C, which leaves nothing behind.');
  screen.line();
  screen.line(`  API             ${url}`);
  screen.line(`  token           ${token}`);
  screen.line();
  screen.line('Look around:');
  screen.line();
  screen.line(`  export TOKEN=${token}`);
  for (const list of lists) screen.line(`  curl -sH "Authorization: Bearer $TOKEN" '${url}/api/v1/${list}'`);
  screen.line(`  curl -sH "Authorization: Bearer $TOKEN" '${url}/log/checkpoint'`);
  screen.line(
    `  ${relative(process.cwd(), join(projectRoot, 'dist/sigilwatch-agent.js'))} --config ${agentSettings} status`,
  );
  screen.line();
  if (engines.kind === 'own') tellHowToDrift(member('node1').engine.socketPath, screen);
}

function tellHowToDrift(socketPath: string, screen: Screen): void {
  screen.line('Start something that nobody authorized, and see it in the drifts:');
  screen.line();
  screen.line(`  docker -H unix://${socketPath} run -d --network none ${images.stranger} /bin/busybox sleep 1000`);
  screen.line();
}
