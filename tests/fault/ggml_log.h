/* ggml_log.h - what the plugin says in the host's log, where its calls have no status. */
#ifndef OCLORA_TESTS_FAULT_GGML_LOG_H
#define OCLORA_TESTS_FAULT_GGML_LOG_H

#include "abi/oclora_types.h"

void ggml_log_listen(void); /* ggml's log comes here from now on */
void ggml_log_clear(void);
/* The status that the log names last, OK if none; `text` (of 512 bytes) gets the log if there is
 * one. */
oclora_status ggml_log_status(char *text);
/* The same after a call without a status failed: the log has to say why. */
oclora_status ggml_log_unsaid(char *text);

#endif
