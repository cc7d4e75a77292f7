#define NAME torn_read_checked
#include "torn_reader.h"
