#define HIVE_WITHOUT_RECHECK
#define NAME torn_read_unchecked
#include "torn_reader.h"
