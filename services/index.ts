/** Real servers for tests and for `npm run services`. See README.md. */
export { type KafkaBroker, type KafkaOptions, startKafka } from './kafka/kafka-broker.ts';
export { type KafkaCluster, type KafkaClusterOptions, startKafkaCluster } from './kafka/kafka-cluster.ts';
export { TcpProxy } from './proxy/tcp-proxy.ts';
export { type RedisCluster, type RedisClusterOptions, startRedisCluster } from './redis/redis-cluster.ts';
export { type RedisOptions, type RedisServer, startRedis } from './redis/redis-server.ts';
export { type RegistryOptions, type RegistryServer, startRegistry } from './registry/registry-server.ts';
export { describeWithServices } from './testing/describe-with-services.ts';
export { haveServices, type ServiceName, type ServicesFound } from './testing/have-services.ts';
export { lackOfPython, python } from './testing/python-modules.ts';
export { type SharedServices, sharedServices } from './testing/shared-services.ts';
