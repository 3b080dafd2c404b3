/* golden_network.h - golden cases that are whole networks, run layer by layer: adapters of rising
 * rank meet the network they approximate at the rank that theory says, and not one below. */
#ifndef OCLORA_TESTS_GOLDEN_NETWORK_H
#define OCLORA_TESTS_GOLDEN_NETWORK_H

#include "golden_case.h"

void golden_linear_network(const golden_served *s);
void golden_relu_network(const golden_served *s);

#endif
