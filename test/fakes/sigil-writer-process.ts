import { writeByCommandLine } from './sigil-writer.ts';

await writeByCommandLine();
