/** `npm run models-table`: writes docs/models.md. */
import { writeFileSync } from 'node:fs';
import { renderReport, reportPath } from './report.ts';

writeFileSync(reportPath, renderReport());
