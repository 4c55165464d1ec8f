import { testDeviceContract } from './device-contract.ts';
import { devices } from './devices.ts';

for (const [name, create] of Object.entries(devices)) testDeviceContract(name, create);
