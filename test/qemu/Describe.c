/* The numbers of an emitted header as symbols, for CheckObject.cpp. Compiled
   with -include HEADER. */
const int64_t convjit_tasks_per_image = CONVJIT_TASKS_PER_IMAGE;
const int64_t convjit_packed_weight_bytes = CONVJIT_PACKED_WEIGHT_BYTES;
