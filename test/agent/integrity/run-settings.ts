import { agentSettings } from '../../../agent/config.ts';
import { loadSettings } from '../../../common/settings.ts';

/** The settings of an agent that has this one store. */
export function runSettings(path: string, dataDir: string, secret: string) {
  const yamlText = JSON.stringify({ dataDir, sigils: { stores: { main: path }, secrets: [secret] } });
  return loadSettings({ schema: agentSettings, env: {}, yamlPath: 'test', yamlText, readFile: () => '' }).values;
}
