/* A model's file as messages. */
#ifndef GM_ONNX_FILE_H
#define GM_ONNX_FILE_H

#include "onnx/tensor.h"

/* Reads and unpacks the file at path; *model goes by gm_onnx_file_free. folder->path is set, its
 * checksum that of the file. GM_ERR_IO where it cannot be read, GM_ERR_INPUT where it is no model,
 * its messages nest too deep, or it has no graph. */
gm_status gm_onnx_file_read(const char *path, gm_onnx_folder *folder, Onnx__ModelProto **model,
                            gm_error *err);
void gm_onnx_file_free(Onnx__ModelProto *model);

#endif
