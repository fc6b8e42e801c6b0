// Makes a component of a script: node componentize.mjs SCRIPT WIT-FOLDER WORLD OUTPUT

import { writeFile } from 'node:fs/promises';
import { argv, exit } from 'node:process';

import { componentize } from '@bytecodealliance/componentize-js';

// Loading it has shown that it is there.
if (argv[2] === '--version') exit(0);

const [sourcePath, witPath, worldName, output] = argv.slice(2);
// Without these features the engine imports nothing of its own, so that only what the world names is left.
const disableFeatures = ['clocks', 'fetch-event', 'http', 'random', 'stdio'];
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
await writeFile(output, component);
