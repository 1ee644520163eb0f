import { agentSettings } from '../../../agent/config.ts';
import { loadSettings } from '../../../common/settings.ts';

/** The settings of an agent that has this one store, `main`, or two: the other one, `other`, comes second. */
export function runSettings(path: string, dataDir: string, secret: string, otherPath?: string) {
  const stores = { main: path, ...(otherPath !== undefined && { other: otherPath }) };
  const yamlText = JSON.stringify({ dataDir, sigils: { stores, secrets: [secret] } });
  return loadSettings({ schema: agentSettings, env: {}, yamlPath: 'test', yamlText, readFile: () => '' }).values;
}
