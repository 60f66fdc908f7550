import { describeSeeds } from './describe-seeds.ts';

describeSeeds({ file: 2 });
