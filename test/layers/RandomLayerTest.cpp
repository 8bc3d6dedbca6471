#include "LayerTesting.h"
