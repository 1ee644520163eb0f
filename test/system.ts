/**
 * The whole system as its users run it: the built programs as child processes, their command lines, real stores, a real
 * git repository. For the demo, the benchmarks and the end-to-end tests; depends on no test runner.
 *
 *     const folder = makeTemporaryFolder('my-test-');
 *     const collector = await startCollector({ dir: `${folder.path}/collector` });
 *     await enrolNode(collector, 'node1', `${folder.path}/node1`);
 *     const node = await startNode({ node: 'node1', dir: `${folder.path}/node1`, socketPath });
 *     ...
 *     await removeLeftovers();
 *
 * Every wait is bounded, and its error shows the last lines of the program it waited for. Whatever is started or made here
 * is gone at the latest when the process ends: after an error, after SIGINT, SIGTERM or SIGHUP (unless the process
 * listens to them itself), and, where the kernel helps (Linux with setpriv), the processes even after SIGKILL.
 */
export { type CollectorOptions, type RunningCollector, startCollector } from './system/collector.ts';
export { type Leftover, makeTemporaryFolder, removeLeftovers, takeCareOf } from './system/leftovers.ts';
export {
  type ManifestRepository,
  makeManifestRepository,
  manifestText,
  type WantedContainer,
} from './system/manifest.ts';
export { enrolNode, type NodeOptions, type RunningNode, startExecutor, startNode } from './system/node.ts';
export {
  type Finished,
  jsonLine,
  type Program,
  type Programs,
  programs,
  programsIn,
  projectRoot,
  runCommand,
  startProgram,
} from './system/program.ts';
export { asServices, executorSocket, handTo } from './system/service.ts';
export {
  type FlippedByte,
  flipByte,
  makeStore,
  type RunningWriter,
  type StoreContents,
  startWriter,
  type WriterOptions,
} from './system/store.ts';
